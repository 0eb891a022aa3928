"""The equations of memories, one function each.

`ntm.py` of the Neural Turing Machine, `dnc.py` of the DNC, `sparse.py` of SAM and the sparse DNC, `stack.py` of the
Stack-RNN, `tape.py` of the Tape-RNN. Tensors in, tensors out, for any leading `*batch` axes.
"""

from .dnc import (
    allocation_weights as allocation_weights,
    backward_weights as backward_weights,
    deallocate as deallocate,
    forward_weights as forward_weights,
    masked_content_weights as masked_content_weights,
    masked_cosine_similarity as masked_cosine_similarity,
    read_weights as read_weights,
    retention as retention,
    sharpen_link_weights as sharpen_link_weights,
    update_link as update_link,
    update_precedence as update_precedence,
    update_usage as update_usage,
    write_weights as write_weights,
)
from .ntm import (
    EPSILON as EPSILON,
    content_weights as content_weights,
    cosine_similarity as cosine_similarity,
    interpolate as interpolate,
    limit_gradient as limit_gradient,
    location_weights as location_weights,
    read as read,
    sharpen as sharpen,
    shift as shift,
    write as write,
)
from .sparse import (
    by_weight as by_weight,
    largest_entries as largest_entries,
    last_access as last_access,
    least_recently_accessed as least_recently_accessed,
    link_between as link_between,
    merged as merged,
    nearest_slots as nearest_slots,
    replace_rows as replace_rows,
    sparse_content_weights as sparse_content_weights,
    sparse_write_weights as sparse_write_weights,
    take_rows as take_rows,
    update_sparse_links as update_sparse_links,
    update_sparse_precedence as update_sparse_precedence,
)
from .stack import update_stack as update_stack
from .tape import update_tape as update_tape
