"""Post-processing: labels to cleaned labels and their volumes."""
