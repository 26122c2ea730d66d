"""Parser of the part of HQL that OMERO's clients send; what it cannot read it refuses by name.

`parse` turns a query into the dataclasses below. It knows no tables: compiler.py gives the names a meaning.
"""

import re
from dataclasses import dataclass, field

from .errors import Unsupported

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>'(?:[^']|'')*')
      | (?P<number>\d+(?:\.\d+)?)[lLdDfF]?
      | (?P<param>:[A-Za-z_]\w*)
      | (?P<name>[A-Za-z_]\w*(?:\s*\.\s*[A-Za-z_]\w*)*)
      | (?P<symbol><>|!=|<=|>=|\|\||[-=<>(),+*/])
    )""",
    re.VERBOSE,
)
_COMPARISONS = {"=", "!=", "<>", "<", ">", "<=", ">=", "like"}
_CLAUSES = {"from", "where", "group", "order", "having", "left", "right", "inner", "outer", "join", "fetch"}
_FUNCTIONS = {"count", "max", "min", "sum", "avg", "lower", "upper", "length", "type", "coalesce", "index", "size"}
_FUNCTIONS |= {"minindex", "maxindex"}


@dataclass(frozen=True)
class Path:
    """A dotted name: an alias, and attributes from there."""

    names: tuple


@dataclass(frozen=True)
class Literal:
    """A constant."""

    value: object


@dataclass(frozen=True)
class Parameter:
    """A named parameter, without its colon."""

    name: str


@dataclass(frozen=True)
class Call:
    """A function and its arguments; `count(*)` has none."""

    name: str
    arguments: tuple
    distinct: bool = False


@dataclass(frozen=True)
class Case:
    """The value of the first condition that holds: pairs of both, and the value where none does."""

    branches: tuple
    otherwise: object


@dataclass(frozen=True)
class Binary:
    """Two expressions and what stands between them, in lower case."""

    operator: str
    left: object
    right: object


@dataclass(frozen=True)
class Not:
    """A negated condition."""

    condition: object


@dataclass(frozen=True)
class In:
    """Membership in a list of expressions or in a subquery."""

    left: object
    choices: object
    negated: bool


@dataclass(frozen=True)
class IsNull:
    """A test for null."""

    expression: object
    negated: bool


@dataclass(frozen=True)
class Exists:
    """Whether a subquery has rows."""

    query: object


@dataclass(frozen=True)
class Join:
    """A join along a path; `fetch` asks to load what it finds."""

    path: Path
    alias: str | None
    outer: bool
    fetch: bool


@dataclass(frozen=True)
class Source:
    """An entity in the from clause, with its joins."""

    entity: str
    alias: str | None


@dataclass(frozen=True)
class Item:
    """A selected expression and its name."""

    expression: object
    alias: str | None


@dataclass(frozen=True)
class Order:
    """A sort key."""

    expression: object
    descending: bool


@dataclass
class Query:
    """A parsed query."""

    sources: list
    joins: list
    items: list = field(default_factory=list)
    as_map: bool = False
    distinct: bool = False
    where: object = None
    group_by: list = field(default_factory=list)
    order_by: list = field(default_factory=list)


def normalise(text):
    """Return a query with each run of white space as one blank, for logs and messages."""
    return " ".join(text.split())


def parse(text):
    """Parse a query.

    Args:
        text: str, HQL.

    Returns:
        Query.

    Raises:
        Unsupported: the text is not in the part of HQL that the stand-in reads; the message holds the query.
    """
    parser = _Parser(text)
    query = parser.query()
    parser.end()
    return query


class _Parser:
    def __init__(self, text):
        self.text = text
        self.tokens = []
        position, stripped = 0, text.rstrip()
        while position < len(stripped):
            match = _TOKEN.match(stripped, position)
            if match is None:
                self.fail(stripped[position : position + 20].strip())
            position = match.end()
            kind = match.lastgroup
            value = match.group(kind)
            self.tokens.append((kind, re.sub(r"\s", "", value) if kind == "name" else value))
        self.index = 0

    def fail(self, near):
        raise Unsupported(f"HQL near {near!r} in: {normalise(self.text)}")

    def word(self, ahead=0):
        """Return the token to come in lower case if it is a name or a symbol, else an empty string."""
        if self.index + ahead >= len(self.tokens):
            return ""
        kind, value = self.tokens[self.index + ahead]
        return value.lower() if kind in ("name", "symbol") else ""

    def take(self):
        if self.index >= len(self.tokens):
            self.fail("the end")
        token = self.tokens[self.index]
        self.index += 1
        return token

    def accept(self, *words):
        if all(self.word(ahead) == word for ahead, word in enumerate(words)):
            self.index += len(words)
            return True
        return False

    def expect(self, word):
        if not self.accept(word):
            self.fail(self.tokens[self.index][1] if self.index < len(self.tokens) else "the end")

    def end(self):
        if self.index < len(self.tokens):
            self.fail(self.tokens[self.index][1])

    def name(self):
        kind, value = self.take()
        if kind != "name":
            self.fail(value)
        return value

    def query(self):
        items, as_map, distinct = [], False, False
        if self.accept("select"):
            distinct = self.accept("distinct")
            if self.accept("new", "map"):
                as_map = True
                self.expect("(")
                items = self.items()
                self.expect(")")
            else:
                items = self.items()
        query = Query(*self.sources(), items=items, as_map=as_map, distinct=distinct)
        if self.accept("where"):
            query.where = self.condition()
        if self.accept("group", "by"):
            query.group_by = self.listed(self.expression)
        if self.accept("order", "by"):
            query.order_by = self.listed(self.order)
        return query

    def listed(self, one):
        found = [one()]
        while self.accept(","):
            found.append(one())
        return found

    def items(self):
        return self.listed(lambda: Item(self.expression(), self.name() if self.accept("as") else None))

    def order(self):
        expression = self.expression()
        descending = self.accept("desc")
        if not descending:
            self.accept("asc")
        return Order(expression, descending)

    def alias(self):
        if self.accept("as"):
            return self.name()
        if self.index < len(self.tokens) and self.tokens[self.index][0] == "name" and self.word() not in _CLAUSES:
            return self.name()
        return None

    def sources(self):
        self.expect("from")
        sources, joins = [], []
        while True:
            sources.append(Source(self.name(), self.alias()))
            while (join := self.join()) is not None:
                joins.append(join)
            if not self.accept(","):
                return sources, joins

    def join(self):
        outer = False
        if self.word() in ("left", "inner", "join"):
            outer = self.accept("left")
            if outer:
                self.accept("outer")
            else:
                self.accept("inner")
            self.expect("join")
            fetch = self.accept("fetch")
            path = Path(tuple(self.name().split(".")))
            return Join(path, self.alias(), outer, fetch)
        return None

    def condition(self):
        left = self.conjunction()
        while self.accept("or"):
            left = Binary("or", left, self.conjunction())
        return left

    def conjunction(self):
        left = self.negation()
        while self.accept("and"):
            left = Binary("and", left, self.negation())
        return left

    def negation(self):
        return Not(self.negation()) if self.accept("not") else self.predicate()

    def predicate(self):
        if self.accept("exists"):
            self.expect("(")
            query = self.query()
            self.expect(")")
            return Exists(query)
        left = self.expression()
        if self.accept("is"):
            negated = self.accept("not")
            if self.accept("empty"):
                return Binary("!=" if negated else "=", Call("size", (left,)), Literal(0))
            self.expect("null")
            return IsNull(left, negated)
        negated = self.accept("not")
        if self.accept("in"):
            return In(left, self.choices(), negated)
        if self.word() in _COMPARISONS:
            operator = self.take()[1].lower().replace("<>", "!=")
            comparison = Binary(operator, left, self.expression())
            return Not(comparison) if negated else comparison
        if negated:
            self.fail("not")
        return left

    def choices(self):
        if not self.accept("("):
            return [self.expression()]
        choices = self.query() if self.word() in ("select", "from") else self.listed(self.expression)
        self.expect(")")
        return choices

    def expression(self):
        left = self.term()
        while self.word() in ("+", "-", "||"):
            left = Binary(self.take()[1], left, self.term())
        return left

    def term(self):
        left = self.factor()
        while self.word() in ("*", "/"):
            left = Binary(self.take()[1], left, self.factor())
        return left

    def factor(self):
        if self.accept("("):
            inner = self.query() if self.word() in ("select", "from") else self.condition()
            self.expect(")")
            return inner
        if self.accept("-"):
            return Binary("-", Literal(0), self.factor())
        if self.word() == "case" and self.word(1) == "when":
            self.take()
            return self.case()
        kind, value = self.take()
        if kind == "string":
            return Literal(value[1:-1].replace("''", "'"))
        if kind == "number":
            return Literal(float(value) if "." in value else int(value))
        if kind == "param":
            return Parameter(value[1:])
        if kind != "name":
            self.fail(value)
        if value.lower() in ("true", "false", "null"):
            return Literal({"true": True, "false": False, "null": None}[value.lower()])
        if self.word() == "(":
            return self.call(value)
        return Path(tuple(value.split(".")))

    def call(self, function):
        if function.lower() not in _FUNCTIONS:
            self.fail(function + "(")
        self.expect("(")
        if self.accept("*"):
            arguments, distinct = (), False
        else:
            distinct = self.accept("distinct")
            arguments = tuple(self.listed(self.expression))
        self.expect(")")
        if len(arguments) > 1 and function.lower() != "coalesce":
            self.fail(function + "(")
        return Call(function.lower(), arguments, distinct)

    def case(self):
        branches, otherwise = [], Literal(None)
        while self.accept("when"):
            condition = self.condition()
            self.expect("then")
            branches.append((condition, self.expression()))
        if self.accept("else"):
            otherwise = self.expression()
        self.expect("end")
        return Case(tuple(branches), otherwise)
