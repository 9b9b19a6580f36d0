"""The commands of ``hope``, one module each. They import what is heavy inside the function that needs it."""
