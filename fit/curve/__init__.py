"""A learning curve: how good a head is with fewer training images."""
