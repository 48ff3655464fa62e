"""The command line: options in, exit codes and tables out.

Each group of commands is loaded when it is called.
"""
