"""What a text shows, to a model and to a person: cut, escaped, coloured, made printable."""
