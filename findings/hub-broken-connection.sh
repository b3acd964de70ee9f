#!/usr/bin/env bash
# Whether a download from the Hugging Face Hub survives a connection that breaks in the middle depends on the minor version.
#
# Seen: huggingface_hub 1.10.2 raises at the first break; 1.20.1 and 2.4.0 ask again and complete the file.
# Memory would have guessed: every version that continues partial files also tries again by itself.
# For separation: priors have hundreds of megabytes; a tool that fetches them asks for 1.20 or tries again by itself.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > download.py <<'END'
import hashlib
import http.server
import os
import tempfile
import threading

BODY = os.urandom(3_000_000)
ETAG = hashlib.sha256(BODY).hexdigest()
gets = []


class Hub(http.server.BaseHTTPRequestHandler):
    """One file of a repository; the first answer breaks in the middle, as on a bad line."""

    def log_message(self, *words):
        pass

    def do_HEAD(self):
        self.answer(0)

    def do_GET(self):
        start = int((self.headers.get("Range") or "bytes=0-").split("=")[1].split("-")[0])
        gets.append(start)
        self.answer(start)
        body = BODY[start:]
        self.wfile.write(body[: len(body) // 2] if len(gets) == 1 else body)
        self.close_connection = True

    def answer(self, start):
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{ETAG}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Accept-Ranges", "bytes")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
        self.send_header("Content-Length", str(len(BODY) - start))
        self.end_headers()


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ |= {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
os.environ["HF_HOME"] = tempfile.mkdtemp(dir=".")
import huggingface_hub

try:
    path = huggingface_hub.hf_hub_download("owner/name", "model.safetensors")
    result = "complete" if open(path, "rb").read() == BODY else "damaged"
except Exception as error:
    result = type(error).__name__
print("huggingface_hub", huggingface_hub.__version__, "result:", result, "requests from byte:", gets)
assert (result == "complete") == (os.environ["EXPECTED"] == "complete"), result
END
for pair in 1.10.2:broken 1.20.1:complete 2.4.0:complete; do
  version=${pair%%:*}
  python3 -m venv "venv-$version"
  "venv-$version/bin/pip" install -q "huggingface_hub==$version"
  EXPECTED=${pair##*:} "venv-$version/bin/python" download.py
done
