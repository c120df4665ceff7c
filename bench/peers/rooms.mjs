// SPDX-License-Identifier: Apache-2.0
// Live updates as they are usually written for Node: rooms on npm's ws. Prints its port.
import { WebSocketServer } from 'ws';

const rooms = new Map();
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });

server.on('connection', (socket) => {
    const joined = new Set();
    socket.on('error', () => socket.terminate());
    socket.on('close', () => joined.forEach((room) => room.delete(socket)));
    socket.on('message', (bytes) => {
        const message = JSON.parse(bytes);
        if (!rooms.has(message.stream))
            rooms.set(message.stream, new Set());
        const room = rooms.get(message.stream);
        if (message.op === 'subscribe') {
            room.add(socket);
            joined.add(room);
            socket.send(JSON.stringify({ op: 'subscribed', stream: message.stream }));
        } else {
            const text = JSON.stringify(message.event);
            room.forEach((member) => member.send(text));
        }
    });
});
server.on('listening', () => console.log(server.address().port));
