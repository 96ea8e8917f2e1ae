"""What several test files share."""

import pytest
import torch


@pytest.fixture(scope="module")
def one_thread():
    """One thread of torch's: sums in one order, and no thread that waits for another in small products."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
