"""Small applications, one a framework, each started by the command in its first line."""
