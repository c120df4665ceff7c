/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/ws.h"

#include "bench/load.h"

void ws_put_frame(buf_t *out, ws_opcode_t op, slice_t payload)
{
    static const uint8_t mask[4] = {0}; /* one as good as any */
    buf_append_byte(out, (uint8_t)(0x80 | op));
    if (payload.n_bytes < 126) {
        buf_append_byte(out, (uint8_t)(0x80 | payload.n_bytes));
    } else {
        if (payload.n_bytes > UINT16_MAX)
            load_die("a message of %zu bytes is too large", payload.n_bytes);
        buf_append_byte(out, 0x80 | 126);
        buf_append_byte(out, (uint8_t)(payload.n_bytes >> 8));
        buf_append_byte(out, (uint8_t)payload.n_bytes);
    }
    buf_append(out, mask, sizeof mask);
    buf_append_slice(out, payload);
}

size_t ws_take_frame(slice_t bytes, ws_opcode_t *op, slice_t *payload)
{
    const uint8_t *at = bytes.data;
    if (bytes.n_bytes < 2)
        return 0;
    if ((at[0] & 0x70) != 0 || (at[1] & 0x80) != 0)
        load_die("a frame is masked or of an extension");
    size_t n_length = at[1] == 127 ? 8 : at[1] == 126 ? 2 : 0;
    if (bytes.n_bytes < 2 + n_length)
        return 0;
    uint64_t n_payload = n_length == 0 ? at[1] : 0;
    for (size_t i = 0; i < n_length; i++)
        n_payload = n_payload << 8 | at[2 + i];
    if (bytes.n_bytes - 2 - n_length < n_payload)
        return 0;
    *op = (ws_opcode_t)(at[0] & 0x0f);
    *payload = slice_of(at + 2 + n_length, (size_t)n_payload);
    return 2 + n_length + (size_t)n_payload;
}

void ws_put_handshake(buf_t *out, const char *host, const char *port, const char *path,
                      const char *protocol, const char *token)
{
    buf_format(out, "GET %s HTTP/1.1\r\nHost: %s:%s\r\nUpgrade: websocket\r\n", path, host, port);
    buf_append_str(out, "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Key: dGFza3dpcmUtYmVuY2gtMQ==\r\n");
    if (protocol != NULL)
        buf_format(out, "Sec-WebSocket-Protocol: %s\r\n", protocol);
    if (token != NULL)
        buf_format(out, "Authorization: Bearer %s\r\n", token);
    buf_append_str(out, "\r\n");
}

size_t ws_take_handshake(slice_t bytes)
{
    static const char good[] = "HTTP/1.1 101";
    const uint8_t *end = memmem(bytes.data, bytes.n_bytes, "\r\n\r\n", 4);
    if (end == NULL)
        return 0;
    if (memcmp(bytes.data, good, sizeof good - 1) != 0)
        load_die("no WebSocket: %.*s", (int)(end - bytes.data), (const char *)bytes.data);
    return (size_t)(end - bytes.data) + 4;
}
