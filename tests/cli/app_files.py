"""The files by which ``rainbowd init`` knows an app, and what it writes for each."""

from __future__ import annotations

UVICORN = "uvicorn", "--host", "127.0.0.1", "--port", "{port}"

FOUND: dict[str, tuple[dict[str, str], dict[str, object]]] = {
    "litestar": ({"app.py": "from litestar import Litestar\napp = Litestar([])\n"}, {"run": [*UVICORN, "app:app"]}),
    "starlette": (
        {"main.py": "from starlette.applications import Starlette\napi: Starlette = Starlette()\n"},
        {"run": [*UVICORN, "main:api"]},
    ),
    "quart": ({"app.py": "import quart\napp = quart.Quart(__name__)\n"}, {"run": [*UVICORN, "app:app"]}),
    "quart on hypercorn": (
        {"app.py": "from quart import Quart\napp = Quart(__name__)\n", "requirements.txt": "hypercorn\nquart\n"},
        {"run": ["hypercorn", "--bind", "127.0.0.1:{port}", "app:app"]},
    ),
    "blacksheep": (
        {"app.py": "from blacksheep import Application\napp = Application()\n"},
        {"run": [*UVICORN, "app:app"]},
    ),
    "sanic": (
        {"server.py": 'from sanic import Sanic\napp = Sanic("shop")\n'},
        {"run": ["sanic", "server:app", "--host", "127.0.0.1", "--port", "{port}", "--single-process"]},
    ),
    "robyn": (
        {"app.py": "from robyn import Robyn\napp = Robyn(__file__)\n"},
        {"run": ["python3", "app.py"], "env": {"ROBYN_HOST": "127.0.0.1", "ROBYN_PORT": "{port}"}},
    ),
    "fastapi factory": (
        {"main.py": "from fastapi import FastAPI\ndef create_app() -> FastAPI:\n    return FastAPI()\n"},
        {"run": [*UVICORN, "--factory", "main:create_app"]},
    ),
    "flask factory with gunicorn": (
        {"shop.py": "from flask import Flask\ndef create_app():\n    app = Flask('x')\n    return app\n",
         ".venv/bin/gunicorn": "", ".venv/bin/flask": ""},
        {"run": [".venv/bin/gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "--threads", "4",
                 "shop:create_app()"]},
    ),
    "bottle": (
        {"app.py": "from bottle import route, run\n@route('/up')\ndef up(): return ''\n"},
        {"run": ["bottle", "--bind", "127.0.0.1:{port}", "app"], "health": "/up"},
    ),
    "bottle application": (
        {"app.py": "import bottle\napp = bottle.Bottle()\n"},
        {"run": ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "--threads", "4", "app:app"]},
    ),
    "aiohttp": (
        {"shop.py": "from aiohttp import web\ndef init(argv):\n    return web.Application()\n"},
        {"run": ["python3", "-m", "aiohttp.web", "-H", "127.0.0.1", "-P", "{port}", "shop:init"]},
    ),
    "aiohttp program": (
        {"shop.py": "from aiohttp import web\nweb.run_app(app)\n"}, {"run": ["python3", "shop.py"]},
    ),
    "src layout": (
        {"src/shop/__init__.py": "", "src/shop/main.py": "from fastapi import FastAPI\napp = FastAPI()\n"},
        {"run": [*UVICORN, "shop.main:app"], "env": {"PYTHONPATH": "{release}/src"}},
    ),
    "uv": (
        {"main.py": "from fastapi import FastAPI\napp = FastAPI()\n", "uv.lock": "", "pyproject.toml": ""},
        {"run": ["uv", "run", "--frozen", *UVICORN, "main:app"]},
    ),
    "poetry": (
        {"main.py": "from fastapi import FastAPI\napp = FastAPI()\n", "poetry.lock": "", "pyproject.toml": ""},
        {"run": ["poetry", "run", *UVICORN, "main:app"]},
    ),
    "backend": (
        {"backend/requirements.txt": "", "backend/main.py": "from fastapi import FastAPI\napp = FastAPI()\n",
         "frontend/package.json": '{"scripts": {"start": "vite"}}', "index.html": ""},
        {"run": "cd backend && exec uvicorn --host 127.0.0.1 --port {port} main:app"},
    ),
    "django in a directory": (
        {"shop/manage.py": "", "shop/shop/wsgi.py": "", "shop/requirements.txt": "gunicorn"},
        {"run": "cd shop && exec gunicorn --bind 127.0.0.1:{port} --workers 2 --threads 4 shop.wsgi"},
    ),
    "rack": ({"config.ru": ""}, {"run": ["puma", "--bind", "tcp://127.0.0.1:{port}", "config.ru"],
                                 "env": {"RACK_ENV": "production"}}),
    "laravel": (
        {"artisan": "", "public/index.php": ""},
        {"run": ["php", "-S", "127.0.0.1:{port}", "-t", "public"], "env": {"PHP_CLI_SERVER_WORKERS": "4"}},
    ),
    "psgi": (
        {"app.psgi": "", "cpanfile": "requires 'Starman';\n"},
        {"run": ["starman", "--listen", "127.0.0.1:{port}", "--workers", "4", "app.psgi"], "drain": {"signal": "QUIT"}},
    ),
    "dancer2": (
        {"bin/app.psgi": "use Shop; Shop->to_app;"},
        {"run": ["plackup", "--env", "production", "--host", "127.0.0.1", "--port", "{port}", "bin/app.psgi"]},
    ),
    "mojolicious": (
        {"app.pl": "#!/usr/bin/env perl\nuse Mojolicious::Lite -signatures;\n"},
        {"run": ["perl", "app.pl", "prefork", "--mode", "production", "--listen", "http://127.0.0.1:{port}"]},
    ),
    "go": (
        {"go.mod": "module example.org/shop/v2\n", "main.go": "package main\n\nfunc main() {}\n"},
        {"run": ["./bin/shop"], "hooks": {"before_launch": "go build -o bin/shop ."}},
    ),
    "go command with a flag": (
        {"go.mod": "module shop\n",
         "cmd/web/main.go": 'package main\n\nvar a = flag.String("addr", "", "")\n\nfunc main() {}\n'},
        {"run": ["./bin/web", "-addr", "127.0.0.1:{port}"],
         "hooks": {"before_launch": "go build -o bin/web ./cmd/web"}},
    ),
    "executable": ({"shop": "\x7fELF"}, {"run": ["./shop"]}),
    "jar": (
        {"target/shop-1.0.jar": "", "target/shop-1.0-sources.jar": "", "pom.xml": ""},
        {"run": ["java", "-Dserver.address=127.0.0.1", "-Dserver.port={port}", "-jar", "target/shop-1.0.jar"]},
    ),
    "mix": (
        {"mix.exs": "  def project, do: [app: :shop]\n"},
        {"run": ["_build/prod/rel/shop/bin/shop", "start"],
         "env": {"PHX_SERVER": "true", "RELEASE_DISTRIBUTION": "none"},
         "hooks": {"before_launch": "MIX_ENV=prod mix do deps.get --only prod + release --overwrite"}},
    ),
    "elixir script": ({"server.exs": "Mix.install([])\n"}, {"run": ["elixir", "server.exs"]}),
    "sveltekit": (
        {"package.json": '{"devDependencies": {"@sveltejs/adapter-node": "5"}, "scripts": {"dev": "vite"}}',
         "src/routes/up/+server.js": ""},
        {"run": ["node", "build/index.js"], "env": {"HOST": "127.0.0.1"}, "health": "/up"},
    ),
    "nuxt": (
        {"package.json": '{"dependencies": {"nuxt": "3"}}'},
        {"run": ["node", ".output/server/index.mjs"], "env": {"HOST": "127.0.0.1"}},
    ),
    "next standalone": (
        {"package.json": '{"dependencies": {"next": "15"}, "scripts": {"start": "next start"}}',
         "next.config.mjs": 'export default { output: "standalone" }', "app/api/health/route.ts": ""},
        {"run": ["node", ".next/standalone/server.js"], "env": {"HOSTNAME": "127.0.0.1"}, "health": "/api/health"},
    ),
    "next": (
        {"package.json": '{"dependencies": {"next": "15"}, "scripts": {"start": "next start -p 3000"}}'},
        {"run": ["node_modules/.bin/next", "start", "--hostname", "127.0.0.1", "--port", "{port}"]},
    ),
    "nestjs": (
        {"package.json": '{"dependencies": {"@nestjs/core": "11"}, "scripts": {"start": "nest start", '
                         '"start:prod": "node dist/main"}}'},
        {"run": ["node", "dist/main"]},
    ),
    "nestjs with options": (
        {"package.json": '{"dependencies": {"@nestjs/core": "11"}, "scripts": {"start": "nest start", '
                         '"start:prod": "node --enable-source-maps dist/main"}}'},
        {"run": ["npm", "run", "start:prod"]},
    ),
    "bun": (
        {"package.json": '{"module": "index.ts"}', "bun.lock": "", "index.ts": ""},
        {"run": ["bun", "run", "index.ts"]},
    ),
    "bun script": (
        {"package.json": '{"scripts": {"start": "bun run src/x.ts"}}', "bun.lockb": ""},
        {"run": ["bun", "run", "start"]},
    ),
    "deno": (
        {"deno.json": "{}", "main.ts": "Deno.serve({ port: 1 }, f)\n"},
        {"run": ["deno", "run", "--allow-net", "--allow-env", "--allow-read", "main.ts"]},
    ),
    "deno serve": (
        {"main.ts": "export default {\n  fetch(request) {},\n} satisfies Deno.ServeDefaultExport\n"},
        {"run": ["deno", "serve", "--host", "127.0.0.1", "--port", "{port}", "--allow-env", "--allow-read", "main.ts"]},
    ),
    "deno task": ({"deno.jsonc": '{"tasks": {"start": "deno run x.ts"}}'}, {"run": ["deno", "task", "start"]}),
    "procfile": (
        {"Procfile": "release: ./migrate --now\nweb: gunicorn app:app\nworker: rq\n"},
        {"run": "gunicorn app:app", "hooks": {"before_launch": "./migrate --now"}},
    ),
}  # fmt: skip
