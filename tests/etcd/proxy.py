"""A proxy between a claimant and etcd that spoils requests: one that is told to, or each one of a kind."""

import socket
import threading
import time


def http(status, body):
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


# An answer in place of etcd's, to a request that etcd does not get.
INSTEAD = {
    "503": http(b"503 Service Unavailable", b""),
    "garbage": http(b"200 OK", b"<html>no\0\xff\n"),
    "no leader": http(b"503 Service Unavailable", b'{"error":"etcdserver: no leader","code":14}'),
}
# What etcd says where a leader was lost: it may have carried out the request, and here it has.
TIMED_OUT = http(b"503 Service Unavailable", b'{"error":"etcdserver: request timed out","code":14}')
# Etcd has carried out the request, and the claimant does not learn of it.
DONE = ("reset after", "delayed", "timed out", "cut")
UNDONE = ("reset before", *INSTEAD)


class Proxy:
    """`spoil(path, fault, times)`: the next `times` requests to that path meet this fault. A fault that is a function is called, and then
    the connection is reset. `seen`: the paths of all requests. `refuse_after(count)`: connections are refused after so many requests."""

    def __init__(self, upstream):
        host, port = upstream.rsplit(":", 1)
        self.upstream = (host, int(port))
        self.lock = threading.Lock()
        self.faults, self.seen, self.connections = [], [], []
        self.delay = 3.0
        self.left = None
        self.listener = None
        self.listen()

    def listen(self, port=0):
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        self.endpoint = f"127.0.0.1:{self.port}"
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def close(self):
        """Refuses connections from now on, and resets those that are open."""
        self.refuse()
        self.drop()

    def refuse(self):
        with self.lock:
            listener, self.listener = self.listener, None
        if listener:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def refuse_after(self, count):
        """From now on each request has a connection of its own, so that the request after these is refused and not reset."""
        self.left = count
        if count == 0:
            self.close()

    def drop(self):
        with self.lock:
            connections, self.connections = self.connections, []
        for connection in connections:
            reset(connection)

    def reopen(self):
        self.left = None
        self.listen(self.port)

    def spoil(self, path, fault, times=1):
        with self.lock:
            self.faults += [[path, fault]] * times

    def accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections.append(client)
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            server = None
            while True:
                head, body = read_request(client)
                if head is None:
                    return
                path = head.split(b" ", 2)[1].decode().removeprefix("/v3/")
                with self.lock:
                    self.seen.append(path)
                    is_single = self.left is not None
                    if is_single:
                        self.left -= 1
                    is_last = self.left == 0
                    at = next((at for at, (wanted, _) in enumerate(self.faults) if wanted in (path, "*")), None)
                    fault = None if at is None else self.faults.pop(at)[1]
                if is_last:
                    self.refuse()  # before the answer, so that the next request comes too late
                if callable(fault):
                    fault()
                if callable(fault) or fault == "reset before":
                    return reset(client)
                if fault in INSTEAD:
                    client.sendall(INSTEAD[fault])
                    continue
                server = server or socket.create_connection(self.upstream)
                server.sendall(head + body)
                if fault == "delayed":
                    time.sleep(self.delay)
                if fault == "reset after":
                    read_answer(server)
                    return reset(client)
                if fault == "timed out":
                    read_answer(server)
                    client.sendall(TIMED_OUT)
                    continue
                if fault == "cut":
                    client.sendall(read_answer(server)[:-9])  # within the JSON, also where it comes in chunks
                    return reset(client)
                if path == "watch":
                    with self.lock:
                        self.connections.append(server)
                    while data := server.recv(65536):
                        client.sendall(data)
                    return
                answer = read_answer(server)
                if is_single:
                    client.sendall(answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
                    return
                client.sendall(answer)
        except OSError:
            return
        finally:
            client.close()
            if server:
                server.close()


def reset(connection):
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()


def read_until(connection, mark, data=b""):
    while mark not in data:
        more = connection.recv(65536)
        if not more:
            return None, b""
        data += more
    at = data.index(mark) + len(mark)
    return data[:at], data[at:]


def length_of(head):
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return None


def read_exactly(connection, data, length):
    while len(data) < length:
        more = connection.recv(65536)
        if not more:
            raise OSError("closed")
        data += more
    return data


def read_request(connection):
    head, rest = read_until(connection, b"\r\n\r\n")
    if head is None:
        return None, b""
    return head, read_exactly(connection, rest, length_of(head) or 0)


def read_answer(connection):
    head, rest = read_until(connection, b"\r\n\r\n")
    if head is None:
        raise OSError("closed")
    length = length_of(head)
    if length is not None:
        return head + read_exactly(connection, rest, length)
    data = rest
    while not data.endswith(b"0\r\n\r\n"):  # chunked
        more = connection.recv(65536)
        if not more:
            raise OSError("closed")
        data += more
    return head + data
