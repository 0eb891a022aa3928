"""What is tortured: a small network that draws random numbers of its own while it trains."""

from torch.nn import functional as F

from lightning_ntm import LSTM


class Forgetful(LSTM):
    """An LSTM that drops a tenth of what it answers in training, so that random states count."""

    def step(self, x, state):
        logits, state = super().step(x, state)
        return F.dropout(logits, 0.1, self.training), state
