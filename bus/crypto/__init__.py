"""The one room that touches cryptography: who this node is, what it vouches for, what it hides.

Read `identity` (what only this node can do), then `content` (what is sealed under keys of its own),
then `passphrase` (what a person can open). Everything is a published construction from libsodium
(Ed25519, X25519, XChaCha20-Poly1305, Argon2id) or BLAKE2b of RFC 7693; what is ours is only the
separation of purposes: two closed lists, so that no signature and no key made for one use can be
taken for another (docs/decisions: ADR 0004).
"""
