"""The AWS route on one machine: emulators of S3, SNS, SQS and SageMaker, for development and tests."""
