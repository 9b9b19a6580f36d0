"""The container behind a SageMaker endpoint: cases come from a bucket, results go back to it."""
