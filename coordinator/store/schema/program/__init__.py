"""Tables that programs write to under the fence of their token."""
