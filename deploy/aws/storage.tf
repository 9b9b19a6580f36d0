# One key for everything that may hold a scan. Its policy is AWS's default: the account's own IAM policies decide (iam.tf).
resource "aws_kms_key" "hope" {
  description             = "${var.name}: scans on their way, results, models"
  enable_key_rotation     = true
  deletion_window_in_days = 30
}

resource "aws_kms_alias" "hope" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.hope.key_id
}

# The proxy bucket: cases go in, results come out, nothing stays.
resource "aws_s3_bucket" "proxy" {
  bucket_prefix = "${var.name}-proxy-"
  force_destroy = true # what is in it is deleted within a day anyway
}

# No versions: a deleted scan would live on as an older version, and users are told that it is gone.
resource "aws_s3_bucket_versioning" "proxy" {
  bucket = aws_s3_bucket.proxy.id

  versioning_configuration {
    status = "Disabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "proxy" {
  bucket = aws_s3_bucket.proxy.id

  rule {
    id     = "expire-cases"
    status = "Enabled"

    filter {
      prefix = "${var.proxy_prefix}/"
    }

    expiration {
      days = var.proxy_days
    }
  }

  # The parts of an upload that was never finished are data too, and no listing shows them.
  rule {
    id     = "abort-unfinished-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

# The models bucket: bundles, which `hope models push` never overwrites. Versions are kept in case somebody else does.
resource "aws_s3_bucket" "models" {
  bucket_prefix = "${var.name}-models-"
}

resource "aws_s3_bucket_versioning" "models" {
  bucket = aws_s3_bucket.models.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "models" {
  bucket = aws_s3_bucket.models.id

  rule {
    id     = "abort-unfinished-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

# What holds for both.
locals {
  buckets = {
    proxy  = aws_s3_bucket.proxy
    models = aws_s3_bucket.models
  }
}

resource "aws_s3_bucket_public_access_block" "all" {
  for_each = local.buckets

  bucket                  = each.value.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

# Lists of access rights beside the policies are switched off.
resource "aws_s3_bucket_ownership_controls" "all" {
  for_each = local.buckets

  bucket = each.value.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "all" {
  for_each = local.buckets

  bucket = each.value.id

  rule {
    bucket_key_enabled = true # one request to KMS for many objects

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.hope.arn
    }
  }
}

data "aws_iam_policy_document" "bucket" {
  for_each = local.buckets

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [each.value.arn, "${each.value.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }

  statement {
    sid       = "NoOldTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [each.value.arn, "${each.value.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "NumericLessThan"
      variable = "s3:TlsVersion"
      values   = ["1.2"]
    }
  }
}

resource "aws_s3_bucket_policy" "all" {
  for_each = local.buckets

  bucket = each.value.id
  policy = data.aws_iam_policy_document.bucket[each.key].json

  depends_on = [aws_s3_bucket_public_access_block.all]
}

# The container's image. A tag, once pushed, is that image for good.
resource "aws_ecr_repository" "hope" {
  name                 = var.name
  image_tag_mutability = "IMMUTABLE"

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = aws_kms_key.hope.arn
  }
}

resource "aws_ecr_lifecycle_policy" "hope" {
  repository = aws_ecr_repository.hope.name

  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Images without a tag go after two weeks"
      selection = {
        tagStatus   = "untagged"
        countType   = "sinceImagePushed"
        countUnit   = "days"
        countNumber = 14
      }
      action = { type = "expire" }
    }]
  })
}
