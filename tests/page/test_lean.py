"""Comments go; everything else stays."""

import pytest

from charlstm.show.page import lean


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "// In: a.\n\n/** Adds.\n * @param {number} a\n */\nfunction add(a) {\n  return a; // more\n}\n",
            "function add(a) {\n  return a;\n}\n",
        ),
        ('const a = "// no /* comment";\n', 'const a = "// no /* comment";\n'),
        ("const a = '\\'//';\n", "const a = '\\'//';\n"),
        ("const a = `  // no\n   ${b /* c */}`;\n", "const a = `  // no\n   ${b /* c */}`;\n"),
        ("const a = b / c; // d / e\n", "const a = b / c;\n"),
        ("const a = (b) / 2 + '//';\n", "const a = (b) / 2 + '//';\n"),
        ("const a = b.replace(/[\"'/]\\/*/g, `x`); // c\n", "const a = b.replace(/[\"'/]\\/*/g, `x`);\n"),
        ("const a = /** @type {any} */ (b);\n", "const a = (b);\n"),
        ("return /\"/.test(a) ? /'/ : b; // c\n", "return /\"/.test(a) ? /'/ : b;\n"),
        ("\n\nconst a = 1;\n\n\n// b\nconst b = 2;\n", "const a = 1;\nconst b = 2;\n"),
        ("const a = x[1] / y / 2; // it's\n", "const a = x[1] / y / 2;\n"),
    ],
)  # fmt: skip
def test_a_script(text: str, wanted: str) -> None:
    assert lean.script(text) == wanted


def test_styles() -> None:
    text = '/* Head. */\nmain {\n  content: "/* x */"; /* y */\n\n  color: red;\n}\n'
    assert lean.style(text) == 'main {\n  content: "/* x */";\n  color: red;\n}\n'
