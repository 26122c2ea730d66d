"""The services of omero.api that the stand-in answers, one class a service.

A method bears the name of its operation and takes the calls.Call first. What is not here is refused by name.
"""

from .admin import Admin
from .config import Config
from .container import Container
from .pixels import PixelsService
from .query import Query
from .roi import Roi
from .script import Script
from .sessions import Sessions
from .types import Types
from .update import Update

SERVICES = {
    "IAdmin": Admin,
    "IConfig": Config,
    "IContainer": Container,
    "IPixels": PixelsService,
    "IQuery": Query,
    "IRoi": Roi,
    "IScript": Script,
    "ISession": Sessions,
    "ITypes": Types,
    "IUpdate": Update,
}

__all__ = ["SERVICES"]
