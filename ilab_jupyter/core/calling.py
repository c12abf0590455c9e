"""Methods of the SDK's classes that can be called on the class as well as on an object."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class hybridmethod(Generic[Arguments, Result]):
    """A method that is bound to the object, or, called on the class, to the class."""

    def __init__(self, method: Callable[Concatenate[Any, Arguments], Result]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, thing: object | None, owner: type) -> Callable[Arguments, Result]:
        return MethodType(self._method, self.target(thing, owner))

    def target(self, thing: object | None, owner: type) -> object:
        """What the method is bound to."""
        return owner if thing is None else thing


class defaultmethod(hybridmethod[Arguments, Result]):
    """A method that is bound to the object, or, called on the class, to an object made without arguments."""

    def target(self, thing: object | None, owner: type) -> object:
        """What the method is bound to."""
        return owner() if thing is None else thing
