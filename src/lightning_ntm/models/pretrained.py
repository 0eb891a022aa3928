"""Networks as files that people share: the methods of every network."""

import inspect
from os import PathLike
from typing import Any, ClassVar, TypeVar

from lightning_ntm.kernels.choice import load
from lightning_ntm.models.arguments import KeepsArguments

Network = TypeVar("Network", bound="Pretrained")


class Pretrained(KeepsArguments):
    """A network that can be saved into a folder and loaded from it.

    The folder has the layout of the Hugging Face hub: `config.json` with the arguments of the constructor, and
    `model.safetensors` with the weights.
    """

    #: Arguments that affect initial weights only: they cannot be changed when a run is resumed.
    initial: ClassVar[tuple[str, ...]] = ()

    def arguments(self) -> dict[str, Any]:
        """Return arguments with which the constructor makes a network of the same architecture.

        Those in `initial` are left out. Networks and parts of them are described by `class_path` and `init_args`.

        Raises:
            ValueError: An argument cannot be described, or the network was changed after it was made so that no
                arguments describe it.
        """
        if self.made_with is None:
            raise ValueError(
                f"{type(self).__name__} has an argument that is no number, text, list or part of a network."
            )
        now: dict[str, Any] = load("lightning_ntm.models.as_made:arguments_now")(self)
        return {name: value for name, value in now.items() if name not in self.initial}

    def save_pretrained(self, folder: str | PathLike[str], *, task: Any = None) -> None:
        """Write the network into a folder, which is made if it is missing: `config.json` and `model.safetensors`.

        A model card, `README.md`, is added if there is none.

        Args:
            folder: The folder. Files of an earlier call are replaced.
            task: The task that the network was trained on, if the files should name it, as for `ntm explore`.

        Raises:
            ValueError: The arguments of network or task cannot be written as JSON, the task is one on files, or the
                network was changed after it was made so that its arguments do not describe it.
            OSError: The files cannot be written.
        """
        load("lightning_ntm.exchange.pretrained:save")(self, folder, task)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        task: Any = None,
        private: bool | None = None,
        token: str | None = None,
        commit_message: str = "Upload a network of lightning-ntm",
    ) -> str:
        """Upload the files of `save_pretrained` to the Hugging Face hub; needs the extra `hub`.

        Args:
            repo_id: The repository, as `owner/name`; it is made if it is missing.
            task: The task that the network was trained on, if the files should name it.
            private: Whether a repository that is made is private; by default as the account says.
            token: An access token; by default that of `hf auth login`.
            commit_message: Message of the commit.

        Returns:
            The address of the repository.

        Raises:
            ValueError: The package `huggingface_hub` is missing, the name is not valid, the arguments of network or
                task cannot be written as JSON, or the hub refuses or cannot be reached.
        """
        more = {"private": private, "token": token, "message": commit_message}
        address: str = load("lightning_ntm.exchange.pretrained:push")(self, repo_id, task, **more)
        return address

    @classmethod
    def from_pretrained(cls: type[Network], folder: str | PathLike[str], **options: Any) -> Network:
        """Load a network that `save_pretrained` wrote, the kept network of a run, or one that comes with the package.

        Only this class is made, with the arguments that the files give; a base class, as `MemoryModel`, makes any
        network of the package. No other code is run that a file names.

        Args:
            folder: The folder; or a name that `ntm zoo` lists, as `copy`; or a repository of the Hugging Face hub, as
                `owner/name`, for which the extra `hub` is needed. Folders have precedence.
            options: Arguments of the constructor that replace those of the files. A controller or memory of your own
                must be given: `NTM.from_pretrained(folder, controller=MyController(...))`.

        Returns:
            The network in evaluation mode, on the CPU, in the precision of the file.

        Raises:
            ValueError: The folder has no network of this class, a file is damaged, or the hub has no such repository or
                cannot be reached.
        """
        network: Network = load("lightning_ntm.exchange.pretrained:load")(cls, folder, options)
        return network


def argument_names(kind: type[Pretrained]) -> list[str]:
    """Return the names of the arguments of a network that do not concern initial weights only."""
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(kind).parameters.values()
    return [one.name for one in parameters if one.kind not in variable and one.name not in kind.initial]
