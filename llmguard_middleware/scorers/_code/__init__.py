"""Code in texts that acts on whoever takes it for text: a browser, a database, a shell, a template, a file system."""
