/*
 * An nkey is base32 of: prefix, key, CRC-16 (XMODEM, little endian). A seed has two bytes of prefix: five bits that say "seed", then
 * the eight that the public key begins with. The key is the seed of an Ed25519 pair.
 */
#include "nkey.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <string.h>

enum { KEY = 32, SEED = 2 + KEY + 2, PUBLIC = 1 + KEY + 2 };
enum { PREFIX_SEED = 18 << 3, PREFIX_USER = 20 << 3 };

static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

static uint16_t crc16(const uint8_t *bytes, size_t count) {
  uint16_t crc = 0;
  for (size_t i = 0; i < count; i++) {
    crc ^= (uint16_t)(bytes[i] << 8);
    for (int bit = 0; bit < 8; bit++) crc = (uint16_t)(crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1);
  }
  return crc;
}

/* Bytes decoded, or -1. */
static int base32_decode(const char *text, uint8_t *bytes, int room) {
  uint32_t held = 0;
  int bits = 0, count = 0;
  for (; *text != '\0' && strchr(" \t\r\n", *text) == NULL; text++) {
    const char *digit = strchr(ALPHABET, *text);
    if (digit == NULL) return -1;
    held = (held << 5) | (uint32_t)(digit - ALPHABET);
    if ((bits += 5) < 8) continue;
    if (count == room) return -1;
    bits -= 8;
    bytes[count++] = (uint8_t)(held >> bits);
  }
  return count;
}

static void base32_encode(const uint8_t *bytes, int count, char *text) {
  uint32_t held = 0;
  int bits = 0;
  for (int i = 0; i < count; i++) {
    held = (held << 8) | bytes[i];
    for (bits += 8; bits >= 5; bits -= 5) *text++ = ALPHABET[(held >> (bits - 5)) & 31];
  }
  if (bits > 0) *text++ = ALPHABET[(held << (5 - bits)) & 31];
  *text = '\0';
}

bool nkey_public(const char *seed, char public_key[NKEY_PUBLIC_BYTES]) {
  uint8_t raw[SEED];
  bool ok = false;
  seed += strspn(seed, " \t\r\n");
  if (base32_decode(seed, raw, SEED) == SEED) {
    const uint16_t crc = (uint16_t)(raw[SEED - 2] | raw[SEED - 1] << 8);
    const uint8_t prefix = (uint8_t)((raw[0] & 7) << 5 | raw[1] >> 3);
    if ((raw[0] & 0xf8) == PREFIX_SEED && prefix == PREFIX_USER && crc == crc16(raw, SEED - 2)) {
      uint8_t key[PUBLIC] = {PREFIX_USER};
      size_t length = KEY;
      EVP_PKEY *pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, raw + 2, KEY);
      ok = pair != NULL && EVP_PKEY_get_raw_public_key(pair, key + 1, &length) == 1;
      EVP_PKEY_free(pair);
      const uint16_t sum = crc16(key, 1 + KEY);
      key[PUBLIC - 2] = (uint8_t)sum;
      key[PUBLIC - 1] = (uint8_t)(sum >> 8);
      base32_encode(key, PUBLIC, public_key);
    }
  }
  OPENSSL_cleanse(raw, sizeof raw);
  return ok;
}
