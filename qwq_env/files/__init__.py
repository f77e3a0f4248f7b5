"""Files: read one JSON object a line, written as a whole or not at all."""
