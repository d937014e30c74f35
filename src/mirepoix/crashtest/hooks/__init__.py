"""The fault points of each library, in a file with the library's name. `installed` installs and removes them."""
