"""The program file: its schema, a streaming writer, a checking reader. See format.md."""
