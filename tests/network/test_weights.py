import pytest

from charlstm.network import weights
from charlstm.network.cells import CELLS
from tests.network.conftest import build


@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_names_and_shapes_are_those_a_checkpoint_expects(cell: str, num_layers: int) -> None:
    model = build(cell=cell, num_layers=num_layers)
    assert {name: tuple(w.shape) for name, w in model.state_dict().items()} == weights.shapes(model.config, 20)
