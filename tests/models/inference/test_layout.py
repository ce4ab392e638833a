"""Products by one library and by the other, in either precision, and which functions have which."""

from __future__ import annotations

import pytest
import tiny
import torch

from wla.models.inference import function_sets, layout
from wla.models.inference.function_sets import acting_functions
from wla.models.inference.layout import Product, by_onednn, halve, laid_out
from wla.models.wla import WLA

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch without oneDNN")


@pytest.mark.parametrize(("half", "error"), [(False, 1e-5), (True, 0.05)])
def test_onednn_computes_the_same_product(half, error):
    torch.manual_seed(0)
    product, x = laid_out(Product(torch.randn(6, 10), torch.randn(10))), torch.randn(2, 3, 6)
    expected = product(x)
    if half:
        halve(product)
    by_onednn(product)
    by_onednn(product)  # once is enough
    found = product(x)
    assert found.dtype == torch.float32
    assert found.shape == (2, 3, 10)
    torch.testing.assert_close(found, expected, atol=error, rtol=error)
    if half:  # in float32 a small product may be the same bit for bit, by processor
        assert not torch.equal(found, expected)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("amx", [False, True])
@pytest.mark.parametrize("onednn", [False, True])
def test_products_of_few_rows_stay_with_the_library_that_begins_at_once(monkeypatch, precision, amx, onednn):
    monkeypatch.setattr(function_sets, "onednn_computes", lambda: onednn)
    monkeypatch.setattr(layout, "has_amx", lambda: amx)
    functions = acting_functions(WLA(tiny.model_config()).eval(), precision)
    for name, module in functions.modules.items():
        products = [part for part in module.modules() if isinstance(part, Product)]
        many = name in ("read_image_32", "read_image_16", "read_prompt")
        own = precision == "bfloat16" and amx
        assert {part.onednn for part in products} <= {onednn and (many or own)}
        halved = precision == "bfloat16" and (many or amx)
        assert any(part.weight.dtype == torch.bfloat16 for part in products) == (halved and bool(products)), name
