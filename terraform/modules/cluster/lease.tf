# Who owns a lane: one record per provider and instance, written by compare-and-swap (penstock/lease.py). A third session finds
# its owner here, on whatever host it starts.
resource "aws_dynamodb_table" "leases" {
  #checkov:skip=CKV_AWS_119:Owned by AWS on purpose: the records hold no secret, and a session must not stop because a key cannot be reached.
  #checkov:skip=CKV_AWS_28:A record is renewed every ten seconds; an old copy of one would be wrong.
  name                        = "${var.name}-leases"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "slot"
  deletion_protection_enabled = var.deletion_protection

  attribute {
    name = "slot"
    type = "S"
  }
}
