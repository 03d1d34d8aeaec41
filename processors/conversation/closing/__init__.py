"""How minutes of conversations close: watermarks, floors and the counts at closing."""
