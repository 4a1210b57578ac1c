"""Servers made by others, on 127.0.0.1: moto for S3, Azurite for Azure Blob Storage, nginx for http, stac-fastapi for
STAC; and one for https.

Each is a context manager that gives its URL. A server that is not installed raises `Missing`, with the reason.
"""

import datetime
import http.server
import ipaddress
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = Path(os.environ.get("LAZYCOGS_SERVERS") or ROOT / "configure" / "servers")
LIFETIME = 600


class Missing(Exception):
    """A server that is not installed here."""


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


@contextmanager
def running(command, port):
    """Runs a server until the end of the block; begins it when the port answers."""
    bounded = [sys.executable, str(Path(__file__).with_name("bounded.py")), str(LIFETIME), *map(str, command)]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(bounded, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said)
        try:
            wait(process, port, said)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait(process, port, said, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            said.seek(0)
            raise RuntimeError(f"the server ended: {said.read().decode()[-500:]}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("the server does not answer")


@contextmanager
def moto():
    """S3, and the IAM that S3 takes its users from."""
    try:
        import moto  # noqa: F401
    except ImportError as error:
        raise Missing(f"moto is not installed: {error}") from error
    port = free_port()
    code = "from moto.server import main; main()"
    with running([sys.executable, "-c", code, "-H", "127.0.0.1", "-p", port], port) as url:
        yield url


def check_signatures(url):
    """From now on moto refuses what is not signed by a user of its IAM."""
    request = urllib.request.Request(
        f"{url}/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"}, method="POST"
    )
    urllib.request.urlopen(request, timeout=5).close()


@contextmanager
def azurite():
    program = TOOLS / "azurite" / "node_modules" / ".bin" / "azurite-blob"
    if not program.is_file() or not shutil.which("node"):
        raise Missing(f"{program} is absent: scripts/servers.sh installs it where npm is")
    port = free_port()
    options = ["--silent", "--loose", "--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence"]
    command = [program, "--blobHost", "127.0.0.1", "--blobPort", port, *options]
    with running(command, port) as url:
        yield url


NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 128; }}
http {{
    access_log {folder}/access.log; client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2;
    fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    server {{
        listen 127.0.0.1:{port};
        root {root};
        location /open/ {{ alias {root}/; }}
        location /closed/ {{ alias {root}/; auth_basic "closed"; auth_basic_user_file {folder}/users; }}
        location /moved/ {{ rewrite ^/moved/(.*)$ /closed/$1 redirect; }}
        {more}
    }}
}}
"""


@contextmanager
def nginx(root, folder, more=""):
    """/open/ and /closed/ (name `reader`, password `s3cret`) serve `root`; /moved/ redirects to /closed/."""
    unpacked = TOOLS / "nginx" / "usr" / "sbin" / "nginx"
    program = str(unpacked) if unpacked.is_file() else shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    if not program:
        raise Missing("nginx is not installed: scripts/servers.sh unpacks Debian's where apt-get is")
    port = free_port()
    (folder / "users").write_text("reader:{PLAIN}s3cret\n")
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, root=root, more=more))
    with running([program, "-p", folder, "-e", folder / "error.log", "-c", folder / "nginx.conf"], port) as url:
        yield url


@contextmanager
def pgstac(collections, items):
    """stac-fastapi on PostgreSQL with PostGIS, filled with the texts of collections and items."""
    root, programs = TOOLS / "postgres", TOOLS / "pgstac" / "bin"
    postgres = root / "usr/lib/postgresql/15/bin"
    if not (postgres / "postgres").is_file() or not (programs / "uvicorn").is_file():
        raise Missing(f"{root} or {programs} is absent: scripts/servers.sh makes them where apt-get and pip can")
    port, user = free_port(), []
    libraries = [f"LD_LIBRARY_PATH={root}/usr/lib/x86_64-linux-gnu", f"PROJ_LIB={root}/usr/share/proj"]
    with tempfile.TemporaryDirectory() as folder:
        if os.getuid() == 0:
            # PostgreSQL refuses to run as root.
            user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
            shutil.chown(folder, "nobody")
        data = Path(folder) / "data"
        begin = [
            *user,
            "env",
            *libraries,
            postgres / "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "--no-sync",
        ]
        made = subprocess.run(list(map(str, begin)), capture_output=True, text=True, timeout=120, cwd="/")
        if made.returncode:
            raise Missing(f"PostgreSQL does not start here: {made.stderr[-300:]}")
        options = ["-p", port, "-k", "", "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        with running([*user, "env", *libraries, postgres / "postgres", "-D", data, *options], port):
            where = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "postgres", "PGDATABASE": "postgres"}
            where |= {"PGPASSWORD": "unused"}
            fill(programs / "pypgstac", where, folder, collections, items)
            api = free_port()
            names = [f"{name}={value}" for name, value in where.items()]
            app = ["--factory", "stac_fastapi.pgstac.app:create_app", "--host", "127.0.0.1", "--port", api]
            with running(["env", *names, programs / "uvicorn", *app], api) as url:
                yield url


def fill(program, where, folder, collections, items):
    """Makes the tables of pgstac and loads them. A server that has just opened its port may not be ready yet."""
    steps = [["migrate"]]
    for kind, texts in (("collections", collections), ("items", items)):
        file = Path(folder) / f"{kind}.ndjson"
        file.write_text("\n".join(texts))
        steps.append(["load", kind, file, "--method", "upsert"])
    time.sleep(1)
    for step in steps:
        done = subprocess.run(
            list(map(str, [program, *step])), env=os.environ | where, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"pypgstac {step[0]}: {done.stderr[-800:]}"


@contextmanager
def https(folder):
    """A server with a certificate that nobody has signed; gives its URL and the certificate's file."""
    try:
        certificate = self_signed(folder)
    except ImportError as error:
        raise Missing(f"cryptography is not installed: {error}") from error

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=folder)

        def log_message(self, *_):
            """Tests print what matters to them."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    # The handshake belongs to the thread of a connection: one that fails must not keep the others waiting.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *_: None
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}", certificate
    finally:
        server.shutdown()
        server.server_close()


def self_signed(folder):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1)).add_extension(names, False)
    certificate = builder.sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "certificate.pem"
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path
