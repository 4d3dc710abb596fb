//! Numbers as Go computes them: functions whose last digits follow the method of its math package, since the forecasts
//! of Holt-Winters amplify any difference; and conversions, which give what x86-64 gives.

/// The fraction in `[0.5, 1)` and the exponent of 2; zero, NaN and infinities stay as they are.
fn frexp(x: f64) -> (f64, i32) {
    libm::frexp(x)
}

/// A float as an integer. What does not fit, and NaN, is the least one.
pub fn to_integer(x: f64) -> i64 {
    const BOUND: f64 = (1_u64 << 63) as f64;
    if (-BOUND..BOUND).contains(&x) { x as i64 } else { i64::MIN }
}

/// A float as an unsigned integer, by way of a signed one.
pub fn to_unsigned(x: f64) -> u64 {
    const BOUND: f64 = (1_u64 << 63) as f64;
    if x < BOUND { to_integer(x) as u64 } else { to_integer(x - BOUND) as u64 ^ (1 << 63) }
}

/// Base-2 logarithm, exact for powers of two.
pub fn log2(x: f64) -> f64 {
    let (fraction, exponent) = frexp(x);
    if fraction == 0.5 {
        return f64::from(exponent - 1);
    }
    fraction.ln() * (1.0 / std::f64::consts::LN_2) + f64::from(exponent)
}

/// `x` to the power of `y`: the integer part of `y` by repeated squaring of the fraction of `x`.
pub fn pow(x: f64, y: f64) -> f64 {
    if y == 0.0 || x == 1.0 {
        return 1.0;
    }
    if y == 1.0 {
        return x;
    }
    if x == 0.0 || !x.is_finite() || !y.is_finite() || y.abs() >= (1_u64 << 63) as f64 {
        return x.powf(y);
    }
    if y == 0.5 {
        return x.sqrt();
    }
    if y == -0.5 {
        return 1.0 / x.sqrt();
    }
    let (mut whole, mut part) = (y.abs().trunc(), y.abs().fract());
    if part != 0.0 && x < 0.0 {
        return f64::NAN;
    }
    let mut mantissa = 1.0;
    if part != 0.0 {
        if part > 0.5 {
            part -= 1.0;
            whole += 1.0;
        }
        mantissa = (part * x.ln()).exp();
    }
    let (mut square, mut square_exponent) = frexp(x);
    let mut exponent = 0;
    let mut bits = whole as u64;
    while bits != 0 {
        if !(-(1 << 12)..=1 << 12).contains(&square_exponent) {
            // The result overflows or vanishes whatever the remaining bits are.
            exponent += square_exponent;
            break;
        }
        if bits & 1 == 1 {
            mantissa *= square;
            exponent += square_exponent;
        }
        square *= square;
        square_exponent <<= 1;
        if square < 0.5 {
            square += square;
            square_exponent -= 1;
        }
        bits >>= 1;
    }
    if y < 0.0 {
        mantissa = 1.0 / mantissa;
        exponent = -exponent;
    }
    libm::ldexp(mantissa, exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_the_least_integer() {
        assert_eq!([to_integer(-1.9), to_integer(1e300), to_integer(f64::NAN)], [-1, i64::MIN, i64::MIN]);
        assert_eq!([to_integer(-(2f64.powi(63))), to_integer(2f64.powi(63))], [i64::MIN, i64::MIN]);
        assert_eq!([to_unsigned(1.9), to_unsigned(2f64.powi(63)), to_unsigned(1e300)], [1, 1 << 63, 0]);
        assert_eq!(to_unsigned(-1.0), u64::MAX);
    }

    #[test]
    fn pow_agrees_with_the_standard_library() {
        for x in
            [-3.5, -2.0, -0.1, 0.0, 1e-300, 0.3, 0.9999, 1.0, 1.7, 2.0, 1e10, 1e300, f64::INFINITY, f64::NAN]
        {
            for y in [
                -400.0,
                -2.5,
                -2.0,
                -0.5,
                0.0,
                0.3,
                0.5,
                1.0,
                2.0,
                3.7,
                17.0,
                1e5,
                1e19,
                f64::INFINITY,
                f64::NAN,
            ] {
                let (ours, std) = (pow(x, y), f64::powf(x, y));
                let near = (ours - std).abs() <= 1e-10 * std.abs();
                assert!(ours == std || near || (ours.is_nan() && std.is_nan()), "{x}^{y}: {ours} {std}");
            }
        }
    }

    #[test]
    fn log2_is_exact_for_powers_of_two() {
        for exponent in -1000..1000 {
            assert_eq!(log2(2f64.powi(exponent)), f64::from(exponent));
        }
        assert!(log2(-1.0).is_nan());
        assert_eq!(log2(0.0), f64::NEG_INFINITY);
    }
}
