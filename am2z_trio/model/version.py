"""Which version of the package this is: written here alone, and read by what builds it."""

VERSION = "0.2.0"
