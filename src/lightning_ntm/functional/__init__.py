"""The equations of memories, one function each.

`ntm.py` of the Neural Turing Machine, `dnc.py` of the DNC, `stack.py` of the Stack-RNN, `tape.py` of the
Tape-RNN. Tensors in, tensors out, for any leading `*batch` axes.
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
from .stack import update_stack as update_stack
from .tape import update_tape as update_tape
