//! Tokens and keywords.

/// Where a character stands, counted from zero as the reader does; printed from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    pub line: u32,
    pub character: u32,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}, char {}", self.line + 1, self.character + 1)
    }
}

/// Declares the tokens with the names that errors use, and the keyword table.
macro_rules! tokens {
    (symbols { $($symbol:ident $symbol_name:literal)* } words { $($word:ident $name:literal)* }) => {
        /// A kind of token.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Token { $($symbol,)* $($word,)* }

        impl Token {
            /// The name in an error text; empty for kinds that errors show by their text.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$symbol => $symbol_name,)*
                    $(Self::$word => $name,)*
                }
            }
        }

        /// Reserved words, in upper case.
        const KEYWORDS: &[(&str, Token)] = &[$(($name, Token::$word),)*];
    };
}

tokens! {
    symbols {
        Illegal "ILLEGAL" Eof "EOF" Whitespace "WS" Comment ""
        Ident "IDENT" BoundParam "" Number "NUMBER" Integer "" DurationVal "DURATIONVAL"
        String "STRING" BadString "BADSTRING" BadEscape "BADESCAPE" Regex "REGEX" BadRegex ""
        Add "+" Sub "-" Mul "*" Div "/" Mod "%" BitAnd "&" BitOr "|" BitXor "^"
        Eq "=" NotEq "!=" EqRegex "=~" NotEqRegex "!~" Lt "<" LtEq "<=" Gt ">" GtEq ">="
        LParen "(" RParen ")" Comma "," Colon ":" DoubleColon "::" Semicolon ";" Dot "."
    }
    words {
        And "AND" Or "OR" In "IN" True "TRUE" False "FALSE"
        All "ALL" Alter "ALTER" Analyze "ANALYZE" Any "ANY" As "AS" Asc "ASC" Begin "BEGIN"
        By "BY" Cardinality "CARDINALITY" Continuous "CONTINUOUS" Create "CREATE"
        Database "DATABASE" Databases "DATABASES" Default "DEFAULT" Delete "DELETE" Desc "DESC"
        Destinations "DESTINATIONS" Diagnostics "DIAGNOSTICS" Distinct "DISTINCT" Drop "DROP"
        Duration "DURATION" End "END" Every "EVERY" Exact "EXACT" Explain "EXPLAIN"
        Field "FIELD" For "FOR" From "FROM" Future "FUTURE" Grant "GRANT" Grants "GRANTS"
        Group "GROUP" Groups "GROUPS" Inf "INF" Insert "INSERT" Into "INTO" Key "KEY"
        Keys "KEYS" Kill "KILL" Limit "LIMIT" Measurement "MEASUREMENT"
        Measurements "MEASUREMENTS" Name "NAME" Offset "OFFSET" On "ON" Order "ORDER"
        Password "PASSWORD" Past "PAST" Policies "POLICIES" Policy "POLICY"
        Privileges "PRIVILEGES" Queries "QUERIES" Query "QUERY" Read "READ"
        Replication "REPLICATION" Resample "RESAMPLE" Retention "RETENTION" Revoke "REVOKE"
        Select "SELECT" Series "SERIES" Set "SET" Shard "SHARD" Shards "SHARDS" Show "SHOW"
        Slimit "SLIMIT" Soffset "SOFFSET" Stats "STATS" Subscription "SUBSCRIPTION"
        Subscriptions "SUBSCRIPTIONS" Tag "TAG" To "TO" User "USER" Users "USERS"
        Values "VALUES" Verbose "VERBOSE" Where "WHERE" With "WITH" Write "WRITE"
    }
}

impl Token {
    /// The keyword that `word` spells in any case, if it is one.
    pub fn keyword(word: &str) -> Option<Self> {
        KEYWORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|&(_, token)| token)
    }

    /// What an error calls a token read as `text`.
    pub fn found(self, text: &str) -> String {
        if text.is_empty() { self.name().to_owned() } else { text.to_owned() }
    }
}
