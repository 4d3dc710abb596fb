//! The Nelder-Mead simplex method with the steps, their order and their stopping rule that InfluxDB's
//! forecasts depend on.

use crate::go_math::pow;

const ITERATIONS_MAX: usize = 1000;
const REFLECTION: f64 = 1.0;
const CONTRACTION: f64 = 0.5;
const EXPANSION: f64 = 2.0;

/// Minimises `objective` from `start`; the least value found and where. The objective may adjust the
/// parameters it is given: the adjusted ones stay in the simplex. Breaks off when the result is no longer wanted.
pub fn minimize(
    mut objective: impl FnMut(&mut [f64]) -> f64,
    start: &[f64],
    epsilon: f64,
    is_wanted: &dyn Fn() -> bool,
) -> (f64, Vec<f64>) {
    let n = start.len();
    let mut vertices = initial_simplex(start);
    let mut values: Vec<f64> = vertices.iter_mut().map(|vertex| objective(vertex)).collect();
    for _ in 0..ITERATIONS_MAX {
        if !is_wanted() {
            break;
        }
        let (mut worst, mut best) = (0, 0);
        for i in 0..=n {
            if values[i] > values[worst] {
                worst = i;
            }
            if values[i] < values[best] {
                best = i;
            }
        }
        let mut second = best;
        for i in 0..=n {
            if values[i] > values[second] && values[i] < values[worst] {
                second = i;
            }
        }

        let centroid = centroid(&vertices, worst);
        let towards = |from: &[f64], to: &[f64], factor: f64| -> Vec<f64> {
            from.iter().zip(to).map(|(a, b)| a + factor * (b - a)).collect()
        };
        let mut reflected: Vec<f64> =
            centroid.iter().zip(&vertices[worst]).map(|(m, w)| m + REFLECTION * (m - w)).collect();
        let value = objective(&mut reflected);

        if value < values[second] && value >= values[best] {
            vertices[worst].copy_from_slice(&reflected);
            values[worst] = value;
        }
        if value < values[best] {
            let mut expanded = towards(&centroid, &reflected, EXPANSION);
            let expanded_value = objective(&mut expanded);
            if expanded_value < value {
                vertices[worst] = expanded;
                values[worst] = expanded_value;
            } else {
                vertices[worst].copy_from_slice(&reflected);
                values[worst] = value;
            }
        }
        if value >= values[second] {
            let mut contracted = if value < values[worst] {
                towards(&centroid, &reflected, CONTRACTION)
            } else {
                centroid.iter().zip(&vertices[worst]).map(|(m, w)| m - CONTRACTION * (m - w)).collect()
            };
            let contracted_value = objective(&mut contracted);
            if contracted_value < values[worst] {
                vertices[worst] = contracted;
                values[worst] = contracted_value;
            } else {
                shrink(&mut vertices, best);
                values[worst] = objective(&mut vertices[worst]);
                values[second] = objective(&mut vertices[second]);
            }
        }
        if deviation(&values) < epsilon {
            break;
        }
    }
    let mut best = 0;
    for i in 0..=n {
        if values[i] < values[best] {
            best = i;
        }
    }
    let parameters = vertices[best].clone();
    (objective(&mut vertices[best]), parameters)
}

fn initial_simplex(start: &[f64]) -> Vec<Vec<f64>> {
    let n = start.len() as f64;
    let root = (n + 1.0).sqrt() - 1.0;
    let (own, other) = ((root + n) / (n * std::f64::consts::SQRT_2), root / (n * std::f64::consts::SQRT_2));
    let corner = |at: usize| {
        start.iter().enumerate().map(|(i, x)| if i == at { own + x } else { other + x }).collect()
    };
    std::iter::once(start.to_vec()).chain((0..start.len()).map(corner)).collect()
}

fn centroid(vertices: &[Vec<f64>], without: usize) -> Vec<f64> {
    let n = vertices.len() - 1;
    (0..n)
        .map(|i| {
            let others = vertices.iter().enumerate().filter(|(at, _)| *at != without);
            others.fold(0.0, |sum, (_, vertex)| sum + vertex[i]) / n as f64
        })
        .collect()
}

/// Halves the distance of every vertex to the best.
fn shrink(vertices: &mut [Vec<f64>], best: usize) {
    let target = vertices[best].clone();
    for (at, vertex) in vertices.iter_mut().enumerate() {
        if at != best {
            for (x, t) in vertex.iter_mut().zip(&target) {
                *x = t + (*x - t) / 2.0;
            }
        }
    }
}

fn deviation(values: &[f64]) -> f64 {
    let n = (values.len() - 1) as f64;
    let average = values.iter().fold(0.0, |sum, v| sum + v) / (n + 1.0);
    values.iter().fold(0.0, |sum, v| sum + pow(v - average, 2.0) / n).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_minimum_of_rosenbrocks_valley() {
        let valley = |x: &mut [f64]| 100.0 * (x[1] - x[0] * x[0]).powi(2) + (1.0 - x[0]).powi(2);
        let (value, at) = minimize(valley, &[-1.2, 1.0], 1e-7, &|| true);
        assert!(value < 1e-6, "{value}");
        assert!((at[0] - 1.0).abs() < 1e-2 && (at[1] - 1.0).abs() < 1e-2, "{at:?}");
    }
}
