"""Each equation of sparse memories, with numbers computed by hand."""

import torch
from torch.testing import assert_close

from lightning_ntm import functional as fn


def places(*numbers):
    return torch.tensor(numbers)


def test_the_nearest_slots_are_those_of_the_largest_cosine_the_first_of_equal_ones_first():
    memory = torch.tensor([[0.0, 0], [2, 0], [1, 1], [5, 0], [0, 0], [-1, 0]])
    keys = torch.tensor([[3.0, 0], [0, 1]])
    assert fn.nearest_slots(memory, keys, 3).tolist() == [[1, 3, 2], [2, 0, 1]]
    stacked = fn.nearest_slots(memory.expand(2, 6, 2), keys.expand(2, 2, 2), 3)
    assert stacked.tolist() == [[[1, 3, 2], [2, 0, 1]]] * 2


def test_rounding_does_not_choose_among_slots_of_the_same_direction():
    directions = torch.randn(1, 32).expand(500, 32) * torch.rand(500, 1).add(0.1)
    assert fn.nearest_slots(directions, torch.randn(1, 32), 5).tolist() == [[0, 1, 2, 3, 4]]


def test_content_weights_are_a_softmax_among_the_nearest_alone():
    rows = torch.tensor([[[2.0, 0], [0, 3]]])
    found = fn.sparse_content_weights(rows, torch.tensor([[1.0, 0]]), torch.tensor([2.0]))
    assert_close(found, torch.tensor([[2.0, 0.0]]).softmax(-1))


def test_the_slot_accessed_the_longest_ago_is_the_first_of_those():
    assert fn.least_recently_accessed(torch.tensor([[4, -1, 3, -1], [0, 0, 0, 0]])).tolist() == [1, 0]


def test_an_access_counts_above_a_weight_of_a_two_hundredth():
    found = fn.last_access(
        places(7, 8, 9, 7), torch.tensor(30), places(1, 2, 3, 1), torch.tensor([0.003, 0.005, 0.1, 0.003])
    )
    assert found.tolist() == [30, 8, 30, 30]  # two entries of slot 1 are 0.006 together


def test_a_write_goes_where_was_read_and_to_the_unused_slot():
    read = torch.tensor([[3, 4], [4, 0]]), torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    found = fn.sparse_write_weights(*read, torch.tensor(9), torch.tensor(0.8), torch.tensor(0.25))
    assert found[0].tolist() == [3, 4, 4, 0, 9]
    assert_close(found[1], 0.8 * torch.tensor([0.0625, 0.0625, 0.125, 0.0, 0.75]))


def test_rows_are_erased_then_added_to():
    table = torch.arange(8.0).view(4, 2)
    found = fn.replace_rows(table, places(1), places(1, 3, 3), torch.tensor([[1.0, 2], [10, 10], [5, 5]]))
    assert found.tolist() == [[0, 1], [1, 2], [4, 5], [21, 22]]
    assert table[1].tolist() == [2, 3]
    assert fn.take_rows(table, places(2, 2, 0)).tolist() == [[4, 5], [4, 5], [0, 1]]


def test_entries_of_one_slot_are_merged_and_the_largest_kept():
    slots, weights = places(5, 2, 5, 7), torch.tensor([0.1, 0.25, 0.2, 0.05])
    totals, first = fn.merged(slots, weights)
    assert_close(totals, torch.tensor([0.3, 0.25, 0.3, 0.05]))
    assert first.tolist() == [True, True, False, True]
    assert fn.by_weight(totals, first).tolist() == [0, 1, 3, 2]
    kept = fn.largest_entries(slots, weights, 2)
    assert kept[0].tolist() == [5, 2]
    assert_close(kept[1], torch.tensor([0.3, 0.25]))
    assert fn.largest_entries(slots, weights, 4)[1].tolist()[3] == 0  # the second entry of slot 5


def test_precedence_is_where_the_last_write_was():
    found = fn.update_sparse_precedence(places(0, 1), torch.tensor([0.6, 0.4]), places(2, 0), torch.tensor([0.7, 0.1]))
    assert found[0].tolist() == [2, 0]
    assert_close(found[1], torch.tensor([0.7, 0.2 * 0.6 + 0.1]))


def test_a_row_of_links_fades_as_its_slot_is_written_and_gets_the_slots_written_before():
    row, precedence = (torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.1]])), (places(2, 4), torch.tensor([0.9, 0.3]))
    found = fn.update_sparse_links(*row, places(4), torch.tensor([0.5]), *precedence)
    assert found[0].tolist() == [[2, 0]]
    assert_close(found[1], torch.tensor([[0.45, 0.25]]))  # that of slot 4 to itself is left out
    rows = torch.tensor([[0, 1], [2, 0]]), torch.tensor([[0.5, 0.1], [0.45, 0.25]])
    assert_close(fn.link_between(*rows, places(1, 3)), torch.tensor([0.1, 0.0]))
