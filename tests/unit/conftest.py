"""Small tensors gain nothing from a second thread, and lose much where the cores are shared."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
