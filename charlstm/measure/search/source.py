"""Source text of many languages, read a little: which characters are in comments and strings; nothing looks ahead."""

_KEYWORDS = {
    *("and", "assert", "case", "elif", "else", "if", "import", "in", "is", "lambda", "not", "or", "print", "raise"),
    *("return", "throw", "while", "yield"),
}
_LONGEST = 200  # characters of a line that are remembered


class SourceReader:
    """Reads source text of many languages a little; afterwards `mode` is code, comment or string."""

    def __init__(self) -> None:
        """Begin in code."""
        self.mode = "code"
        self._end = ""  # what ends the comment or string
        self._tail = ""  # the last characters of the string or block comment, as far as they count for its end
        self._line = ""  # the code of this line, without strings
        self._deep = 0  # brackets open in code
        self._quotes = ""  # the quotes that have just been read: two are an empty string, three open a long one

    def read(self, character: str) -> None:
        """Take the next character."""
        if self.mode == "code":
            self._read_code(character)
        elif self.mode == "comment" and self._end == "\n":
            if character == "\n":
                self._leave(character)
        else:
            self._read_long(character)

    def _read_long(self, character: str) -> None:
        escaped = self.mode == "string" and self._tail.endswith("\\")
        self._tail = (self._tail + character)[-3:] if not escaped else " "
        if self._tail.endswith(self._end) and not escaped:
            self._quotes = (self._quotes + character) if self._quotes and len(self._end) == 1 else ""
            self._leave(character)
        elif character == "\n" and len(self._end) == 1:  # a string of one line that nobody closed
            self._leave(character)
        else:
            self._quotes = ""

    def _read_code(self, character: str) -> None:
        quotes, self._quotes = self._quotes, ""
        if character in {'"', "'"}:
            alike = quotes[-1:] in {"", character}
            self._quotes = quotes + character if alike else character
            if len(self._quotes) == 3:
                self._enter("string", self._quotes)
            elif len(self._quotes) == 1 and self._expects_value():
                self._enter("string", character)
            else:
                self._line = (self._line + character)[-_LONGEST:]
        elif self._begins_comment(character):
            self._enter("comment", "\n")
        elif character == "*" and self._line.endswith("/"):
            self._enter("comment", "*/")
        else:
            self._deep = max(0, self._deep + (character in "([{") - (character in ")]}"))
            if character == "\n" and not self._line.strip():
                self._deep = 0
            self._line = "" if character == "\n" else (self._line + character)[-_LONGEST:]

    def _begins_comment(self, character: str) -> bool:
        """Return whether a comment begins that ends with the line."""
        if character == "#":
            return self._line[-1:] in {"", " ", "\t"}
        return character == "/" and self._line.endswith("/") and not self._line.endswith(":/")

    def _expects_value(self) -> bool:
        """Return whether a string can begin after the code of this line."""
        line = self._line
        bare = line.rstrip("rRbBfFuU")
        if len(line) - len(bare) <= 2 and not bare[-1:].isalnum():
            line = bare
        code = line.rstrip(" \t")
        if not code:
            return self._deep > 0
        if code[-1] in "([{=+%" or (code[-1] in ",:|&<>" and self._deep > 0):
            return True
        return len(code) < len(self._line) and code.rpartition(" ")[2].lstrip("([{") in _KEYWORDS

    def _enter(self, mode: str, end: str) -> None:
        self.mode, self._end, self._tail = mode, end, ""
        if len(end) != 1 or mode != "string":
            self._quotes = ""

    def _leave(self, character: str) -> None:
        self.mode = "code"
        self._line = "" if character == "\n" else self._line + '"'
