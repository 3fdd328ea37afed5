"""The source of a transformers model: a hub id, a folder, a `.gguf` file or `demo`; and the fingerprint of its content."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from promptkit.core.errors import InputError, ModelError, first_line
from promptkit.core.file_hashes import known_sha256_hex
from promptkit.core.hashing import Hasher
from promptkit.core.paths import expanded
from promptkit.models.files.gguf import demo_folder, gguf_folder, is_converted
from promptkit.tasks.hub import go_offline_if_unreachable

DEMO = "demo"
"""The name of the demo model of an engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModels:
    """Models that error messages suggest, all of one engine."""

    hub: str
    """A hub id."""
    engine: str = ""
    """The engine, which is written before each name; empty for the default engine."""
    demo_extra: str = ""
    """The extra that installs the demo model; empty if the engine has none."""
    reads_gguf: bool = False
    """Whether the engine loads `.gguf` files."""

    @property
    def local(self) -> str:
        """The models that need no network, such as `demo`."""
        demo = f"`{self._full(DEMO)}` (in the extra {self.demo_extra})" if self.demo_extra else ""
        file = f"a .gguf file such as {self._full('./model.gguf')}" if self.reads_gguf else ""
        *first, last = filter(None, [demo, f"a model folder such as {self._full('./model')}", file])
        return f"{', '.join(first)} or {last}" if first else last

    @property
    def all(self) -> str:
        """The same models, and a hub id."""
        return f"{self.local}, or a hub id such as {self._full(self.hub)}"

    def _full(self, name: str) -> str:
        return f"{self.engine}:{name}" if self.engine else name


LANGUAGE_MODELS = KnownModels(hub="google/gemma-3-270m", demo_extra="demo", reads_gguf=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The files of a model that transformers can load."""

    location: str
    """A folder, or a hub id."""
    commit: str | None = None
    """The commit that the revision of a hub id resolved to; None for a folder."""
    converted: bool = False
    """Whether the folder was converted from a GGUF file; its name then contains the SHA-256 of the file."""
    known: KnownModels = LANGUAGE_MODELS
    """The models that error messages suggest instead."""

    @property
    def local(self) -> bool:
        """Whether the source is a folder."""
        return self.commit is None

    def fingerprint(self) -> str:
        """Returns an identifier of the content: the commit, the hash of the converted file, or a hash of the folder's files."""
        if not self.local:
            return f"{self.location}@{self.commit}"
        if self.converted:
            return Path(self.location).name
        hasher = Hasher()
        for file in sorted(Path(self.location).iterdir()):
            if file.is_file() and file.suffix in {".json", ".safetensors", ".bin", ".model", ".jinja", ".txt"}:
                hasher.update(f"{file.name}\0{known_sha256_hex(file)}\0")
        return f"sha256:{hasher.hexdigest()[:32]}"


def resolve(name: str, revision: str | None = None, known: KnownModels = LANGUAGE_MODELS) -> Source:
    """Returns the source that a model name refers to; converts a GGUF file at the first use.

    Args:
        name: `demo`, a model folder, a `.gguf` file or a hub id.
        revision: Branch, tag or commit of a hub id.
        known: The models that error messages suggest, which are of the engine that the name is for.

    Raises:
        InputError: If the name is empty.
        ModelError: If there is no such model.
    """
    if name == DEMO and known.demo_extra:
        return Source(location=str(demo_folder()), converted=True, known=known)
    if not name.strip():
        raise InputError(
            "The name of the model is empty", code="empty-name", got=repr(name), hint=f"Give {known.all}", name=name
        )
    path = expanded(name)
    if path.suffix == ".gguf":
        if not known.reads_gguf:
            raise ModelError(
                f"The engine {known.engine} does not load .gguf files",
                code="gguf-not-supported",
                got=name,
                hint=f"Give {known.all}",
                engine=known.engine,
                file=name,
            )
        if not path.is_file():
            raise ModelError(f"There is no GGUF file {name}", code="no-such-file", hint=f"Give {known.all}", file=name)
        return Source(location=str(gguf_folder(path)), converted=True, known=known)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(
                f"The folder {name} does not contain a model: it has no config.json",
                code="no-config",
                hint=f"Give {known.all}",
                folder=name,
            )
        return Source(location=str(path), converted=is_converted(path), known=known)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"There is no model folder {name!r}", code="no-such-folder", hint=f"Give {known.all}", folder=name)
    return Source(location=name, commit=_commit(name, revision, known), known=known)


def _commit(name: str, revision: str | None, known: KnownModels) -> str:
    """Returns the commit that a branch or tag refers to now; all files are read at this commit, and runs record it."""
    go_offline_if_unreachable()
    from huggingface_hub import errors, hf_hub_download

    try:
        return Path(hf_hub_download(name, "config.json", revision=revision)).parent.name
    except Exception as error:  # huggingface_hub raises many types of errors
        codes = {  # base classes come before their subclasses: the last match counts
            errors.RepositoryNotFoundError: ("not-on-hub", "the hub has no model of that name, or it is private"),
            errors.GatedRepoError: ("gated-model", "access requires a login and acceptance of the owner's terms"),
            errors.RevisionNotFoundError: ("unknown-revision", "the model has no such revision"),
            errors.EntryNotFoundError: ("no-config", "it has no config.json, so it is not a transformers model"),
            errors.LocalEntryNotFoundError: ("hub-unreachable", "the hub cannot be reached"),
        }
        reason = first_line(error)
        code, reason = next((codes[kind] for kind in reversed(codes) if isinstance(error, kind)), ("hub-failure", reason))
        at = f" at revision {revision}" if revision else ""
        raise ModelError(
            f"The model {name}{at} was found neither on the hub nor in its cache: {reason}",
            code=code,
            hint=f"Check the name, the revision and the network; models that need no network are {known.local}",
            model=name,
            revision=revision,
        ) from error
