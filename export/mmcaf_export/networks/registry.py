"""The networks the exporter knows, and how it tells which one a checkpoint holds."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from mmcaf_engine.errors import ExportError, MmcafError, Remedy
from mmcaf_engine.machine.plugins import PluginError, contained, place, raised_whole

from .cmasg.entry import CmasgEntry
from .entry import NetworkEntry
from .lcadb.entry import LcadbEntry
from .medfusionnet.entry import MedFusionEntry
from .mmcaf.entry import MmcafEntry
from .plugins import FAULTY_NETWORK, GROUP, Faulty, NetworkError, installed

BUILT_IN: tuple[NetworkEntry[Any], ...] = (MmcafEntry(), LcadbEntry(), CmasgEntry(), MedFusionEntry())

_OWN = "mmcaf-infer"


def _told(cause: BaseException) -> str:
    where = place(cause)
    return f"{raised_whole(cause)}{where and f' ({where})'}"


class Networks:
    """What can be exported here: the built-in networks and those that installed packages add.

    entries: name -> network; origins: name -> distribution; faulty: what a package names but cannot be used.
    """

    def __init__(self) -> None:
        self.entries: dict[str, NetworkEntry[Any]] = {entry.name: entry for entry in BUILT_IN}
        self.origins = dict.fromkeys(self.entries, _OWN)
        found, faulty = installed()
        for plugin in found:
            name = plugin.entry.name
            if name in self.entries:
                faulty.append(Faulty(plugin.origin, f"its name {name!r} is taken by {self.origins[name]}"))
            else:
                self.entries[name] = plugin.entry
                self.origins[name] = plugin.origin
        self.faulty = tuple(faulty)

    def entry(self, name: str) -> NetworkEntry[Any]:
        """The network of this name.

        Raises:
            ExportError: there is none.
        """
        if name not in self.entries:
            raise ExportError(
                f"No network is called {name!r}.{self._unusable()}", f"Known networks: {', '.join(self.entries)}."
            )
        return self.entries[name]

    @contextmanager
    def blamed(self, name: str) -> Iterator[None]:
        """Report what goes wrong within another package's network as that package's fault.

        Raises:
            ExportError: in place of an exception that is not one of ours.
        """
        if self.origins[name] == _OWN:
            yield
            return
        try:
            with contained(MmcafError):
                yield
        except PluginError as fault:
            cause = fault.__cause__ or fault
            told = str(fault) if isinstance(fault, NetworkError) else _told(cause)
            raise ExportError(
                f"The network {name!r} of the package {self.origins[name]} failed: {told}.", *FAULTY_NETWORK
            ) from cause

    def fitting(
        self, state: Mapping[str, Tensor], metadata: Mapping[str, str], network: str | None = None
    ) -> tuple[str, ...]:
        """Networks whose signature a checkpoint holds, under arguments as of `recognise`.

        Raises:
            ExportError: no network is called what `network` or the file asks for.
        """
        candidates = self._candidates(metadata, network)
        return tuple(entry.name for entry in _with_signature(candidates, self._states(state, candidates)))

    def recognise(
        self, state: Mapping[str, Tensor], metadata: Mapping[str, str], network: str | None = None
    ) -> tuple[str, Any]:
        """Tell which network a checkpoint holds and how it is configured: see `identify` and `configure`."""
        name = self.identify(state, metadata, network)
        return name, self.configure(name, state, metadata)

    def identify(self, state: Mapping[str, Tensor], metadata: Mapping[str, str], network: str | None = None) -> str:
        """The name of the network that a checkpoint holds.

        Args:
            state: parameter names -> tensors; only names and shapes are looked at.
            metadata: what the file says of itself: network, slices, size.
            network: insist on this one instead of looking.

        Raises:
            ExportError: no known network, several, or not the one asked for.
        """
        candidates = self._candidates(metadata, network)
        states = self._states(state, candidates)
        fitting = _with_signature(candidates, states)
        if not fitting:
            raise self._unknown(state, states, candidates)
        if len(fitting) > 1:
            names = ", ".join(f"{entry.name} (of {self.origins[entry.name]})" for entry in fitting)
            raise ExportError(
                f"The checkpoint fits several networks: {names}.",
                Remedy("Choose one", option="network", value=fitting[0].name),
            )
        return fitting[0].name

    def configure(self, name: str, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Any:
        """How the network of this name is configured, of the type that its entry builds from.

        Args:
            state, metadata: of a checkpoint in which it was identified.

        Raises:
            ExportError: no possible configuration.
        """
        entry = self.entry(name)
        with self.blamed(name):
            try:
                return entry.configure(entry.own_names(state), metadata)
            except ValueError as failure:
                raise ExportError(
                    f"The checkpoint looks like {entry.title} but cannot be one: {failure}.",
                    "Check that it was trained with the published network.",
                ) from None

    def _candidates(self, metadata: Mapping[str, str], network: str | None) -> list[NetworkEntry[Any]]:
        wanted = network or metadata.get("network")
        return [self.entry(wanted)] if wanted else list(self.entries.values())

    def _states(
        self, state: Mapping[str, Tensor], candidates: list[NetworkEntry[Any]]
    ) -> dict[str, Mapping[str, Tensor]]:
        states: dict[str, Mapping[str, Tensor]] = {}
        for candidate in candidates:
            with self.blamed(candidate.name):
                states[candidate.name] = candidate.own_names(state)
        return states

    def _unknown(
        self,
        state: Mapping[str, Tensor],
        states: Mapping[str, Mapping[str, Tensor]],
        candidates: list[NetworkEntry[Any]],
    ) -> ExportError:
        lacking = []
        for entry in candidates:
            missing = ", ".join(key for key in entry.signature if key not in states[entry.name])
            lacking.append(f"{entry.name} ({entry.title}), whose {missing} it lacks")
        keys = ", ".join(sorted(state)[:3])
        return ExportError(
            f"The checkpoint's {len(state)} tensors ({keys}, ...) are not {'; nor '.join(lacking)}.{self._unusable()}",
            f"Export a checkpoint of one of these networks, or add yours as docs/add-a-network.md shows ({GROUP}).",
        )

    def _unusable(self) -> str:
        return "".join(
            f" The package {faulty.origin} adds a network that cannot be used: {faulty.reason}."
            for faulty in self.faulty
        )


def _with_signature(
    candidates: list[NetworkEntry[Any]], states: Mapping[str, Mapping[str, Tensor]]
) -> list[NetworkEntry[Any]]:
    return [entry for entry in candidates if all(key in states[entry.name] for key in entry.signature)]
