"""Things that installed packages offer by name, through entry points; each is imported when its name is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from wla.config_errors import nearest

T = TypeVar("T")


@dataclass(frozen=True)
class Registry(Generic[T]):
    """The package's own things of one kind, and those of other packages.

    group: of the entry points. what: the kind, in messages. own: name -> module and name in it (`module:NAME`).
    name_of: the name that a thing states itself, which is that of its entry point.
    """

    group: str
    what: str
    own: Mapping[str, str]
    name_of: Callable[[T], str]

    def names(self) -> list[str]:
        """Names of all things, without importing any."""
        return [*self.own, *sorted({offer.name for offer in entry_points(group=self.group)} - self.own.keys())]

    def find(self, name: str, kind: type[T]) -> T | None:
        """The thing of that name; None where nobody offers it.

        ValueError where several packages offer it, where it cannot be imported, and for something that is not a `kind`.
        """
        own = [EntryPoint(name, self.own[name], self.group)] if name in self.own else []
        # Sorted, because the order in which packages are found depends on the file system.
        offers = [*own, *sorted(entry_points(group=self.group, name=name), key=_origin)]
        if len(offers) > 1:
            raise ValueError(
                f"{self.what} {name!r} is offered by several packages ({', '.join(map(_origin, offers))}); "
                "uninstall all but one"
            )
        return self._imported(offers[0], kind) if offers else None

    def hint(self, name: str) -> str:
        """What to say of a name that nobody offers."""
        near = nearest(name, self.names())
        return f"did you mean {near!r}?" if near else f"known are: {', '.join(self.names())}"

    def _imported(self, offer: EntryPoint, kind: type[T]) -> T:
        where = f"{self.what} {offer.name!r} of the package {_origin(offer)} ({offer.value})"
        try:
            found = offer.load()
        except Exception as error:  # importing somebody's package may raise anything
            raise ValueError(
                f"{where} cannot be imported ({type(error).__name__}: {error}); repair or uninstall it"
            ) from error
        if not isinstance(found, kind) or self.name_of(found) != offer.name:
            other = f"called {self.name_of(found)!r}" if isinstance(found, kind) else f"a {type(found).__name__}"
            article = "an" if kind.__name__[0] in "AEIO" else "a"
            raise ValueError(f"{where} is {other}; the entry point leads to {article} {kind.__name__} of its own name")
        return found


def _origin(offer: EntryPoint) -> str:
    return offer.dist.name if offer.dist else "wla"
