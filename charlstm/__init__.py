"""charlstm: train a character-level LSTM on your own text, watch it write, measure it honestly, look inside it.

One way runs through the package, and its folders are met in this order:

    files -> text -> network -> training -> storage -> a Model -> generate, measure, look inside
"""

import sys

__version__ = "0.1.0"

TYPE_CHECKING = False  # that of `typing` would have to be loaded, and nothing is loaded here: neither numpy nor torch
if TYPE_CHECKING:
    from charlstm import inspect
    from charlstm.api import Model, Provenance, State, Step, Trace, load, train, training
    from charlstm.errors import CharLSTMError, DataError, InputOutputError, UsageError
    from charlstm.measure.score import Score
    from charlstm.storage.runs import Run

__all__ = [
    "CharLSTMError",
    "DataError",
    "InputOutputError",
    "Model",
    "Provenance",
    "Run",
    "Score",
    "State",
    "Step",
    "Trace",
    "UsageError",
    "inspect",
    "load",
    "train",
    "training",
]


if not TYPE_CHECKING:

    def __getattr__(name):
        """Load what a program uses when it uses it."""
        if name in {"inspect", "training"}:  # parts of the package
            from importlib import import_module

            return import_module(f"charlstm.{name}")
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from charlstm import api, errors

        return getattr(errors if hasattr(errors, name) else api, name)


class _Training(type(sys)):  # type: ignore[misc]
    """`charlstm.training` is a folder of the package and, called, the function that trains."""

    def __call__(self, *arguments: object, **settings: object) -> object:
        """Call `charlstm.api.training`."""
        from charlstm import api

        return api.training(*arguments, **settings)  # type: ignore[arg-type]


class _Package(type(sys)):  # type: ignore[misc]
    """Makes the folder `training` callable as it is loaded, whoever loads it."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "training" and type(value) is type(sys):
            value.__class__ = _Training
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
