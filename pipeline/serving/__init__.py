"""How programs of this project serve HTTP by ASGI: a bound address, names of this machine, an orderly end."""
