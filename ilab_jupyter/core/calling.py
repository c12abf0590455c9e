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

    def __get__(self, instance: object | None, owner: type) -> Callable[Arguments, Result]:
        return MethodType(self._method, self.target(instance, owner))

    def target(self, instance: object | None, owner: type) -> object:
        """The object or class to which the method is bound."""
        return owner if instance is None else instance


class defaultmethod(hybridmethod[Arguments, Result]):
    """A method that is bound to the object, or, called on the class, to an object made without arguments."""

    def target(self, instance: object | None, owner: type) -> object:
        """The object or class to which the method is bound."""
        return owner() if instance is None else instance
