"""Bad files and the exact lines that a person reads; exit code 78 for each (B3)."""

# A table is read best without line breaks.
# ruff: noqa: E501

from __future__ import annotations

BAD_FILES: tuple[tuple[str, str], ...] = (
    (
        'hostsTasks = true\n[hooks]\nonChange = "true"',
        "Config.toml:2: hooks: cannot be combined with tasks, but for the webhook: these are hooks of one program",
    ),
    (
        '[hooks]\nwebhook = "ftp://a/"',
        "Config.toml:2: hooks.webhook: must be a URL, as in \"https://hooks.example.org/coord\" (got 'ftp://a/')",
    ),
    (
        '[hooks]\nwebhook = "https://a:b@c/"',
        "Config.toml:2: hooks.webhook: must not hold a user or a password: put a token into webhookTokenFile (got 'https://a:***@c/')",
    ),
    (
        '[hooks]\nwebhookTokenFile = "token"',
        "Config.toml:2: hooks.webhookTokenFile: needs webhook",
    ),
    (
        '[hooks]\nwebhook = "http://a.example/"\nwebhookTokenFile = "token"',
        "Config.toml:3: hooks.webhookTokenFile: needs an https URL (or a loopback address): others could read the token",
    ),
    (
        '[hooks]\nwebhook = "https://a/"\nwebhookTimeout = 61',
        "Config.toml:3: hooks.webhookTimeout: must be less than or equal to 60 (got 61)",
    ),
    (
        '[node]\naddress = "10.0.0.7 "',
        'Config.toml:2: node.address: must be one word of at most 255 printable ASCII characters, as "10.0.0.7" or "web-1.example:8080" (got \'10.0.0.7 \')',
    ),
    ("[health]", "Config.toml:1: health: needs command or http"),
    (
        '[health]\ncommand = "true"\nhttp = "http://a/"',
        "Config.toml:3: health.http: cannot be combined with command; give one of them",
    ),
    (
        '[health]\nhttp = "ftp://a/"',
        "Config.toml:2: health.http: must be a URL, as in \"http://127.0.0.1:8080/health\" (got 'ftp://a/')",
    ),
    (
        '[health]\ncommand = "true"\nfailures = 0',
        "Config.toml:3: health.failures: must be greater than or equal to 1 (got 0)",
    ),
    (
        'hostsTasks = true\n[health]\ncommand = "true"',
        "Config.toml:2: health: cannot be combined with tasks: a task reports progress instead (progressTimeout)",
    ),
    (
        '[program]\ncommand = "true"\nprogressTimeout = 5\n[trigger]\ninterval = 1',
        "Config.toml:3: program.progressTimeout: cannot be combined with [trigger]: nothing reports progress between two runs",
    ),
    (
        'taskId = "a/b"',
        "Config.toml:1: taskId: must be 1 to 128 of ASCII letters, digits and _ . : @ - ('/' is reserved) (got 'a/b')",
    ),
    (
        'taskId = ""',
        "Config.toml:1: taskId: must be 1 to 128 of ASCII letters, digits and _ . : @ - ('/' is reserved) (got '')",
    ),
    ("taskId = 5", "Config.toml:1: taskId: must be a valid string (got 5)"),
    (
        'groupId = "two words"',
        "Config.toml:1: groupId: must be 1 to 128 of ASCII letters, digits and _ . : @ - ('/' is reserved) (got 'two words')",
    ),
    (
        'groupId = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"',
        "Config.toml:1: groupId: must be 1 to 128 of ASCII letters, digits and _ . : @ - ('/' is reserved) (got 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…)",
    ),
    (
        "heartbeatFrequency = 0",
        "Config.toml:1: heartbeatFrequency: must be greater than or equal to 0.01 (got 0)",
    ),
    (
        "heartbeatFrequency = -1",
        "Config.toml:1: heartbeatFrequency: must be greater than or equal to 0.01 (got -1)",
    ),
    (
        "heartbeatFrequency = true",
        'Config.toml:1: heartbeatFrequency: must be seconds as a number, or text such as "500ms", "6s", "2m", "1h" (got true)',
    ),
    (
        'heartbeatFrequency = "6 parsecs"',
        'Config.toml:1: heartbeatFrequency: must be seconds as a number, or text such as "500ms", "6s", "2m", "1h" (got \'6 parsecs\')',
    ),
    (
        "heartbeatFrequency = nan",
        'Config.toml:1: heartbeatFrequency: must be seconds as a number, or text such as "500ms", "6s", "2m", "1h" (got nan)',
    ),
    (
        "heartbeatFrequency = [1]",
        'Config.toml:1: heartbeatFrequency: must be seconds as a number, or text such as "500ms", "6s", "2m", "1h"',
    ),
    (
        "heartbeatFrequency = 2\nlivenessCheckInterval = 5",
        "Config.toml:2: livenessCheckInterval (5 s) must be at least 3 x heartbeatFrequency (2 s)",
    ),
    (
        "heartbeatFrequency = 11",
        "Config.toml:1: livenessCheckInterval (30 s) must be at least 3 x heartbeatFrequency (11 s)",
    ),
    (
        'livenessCheckInterval = 0.61\nheartbeatFrequency = "200ms"',
        "Config.toml:1: livenessCheckInterval (0.61 s) gives a lease of 0.32 s, which must hold 2 x heartbeatFrequency (0.2 s): livenessCheckInterval = 0.71 does",
    ),
    (
        'livenessCheckInterval = "2d"',
        "Config.toml:1: livenessCheckInterval: must be less than or equal to 86400 (got '2d')",
    ),
    ("stopTimeout = -1", "Config.toml:1: stopTimeout: must be greater than or equal to 0 (got -1)"),
    (
        'livenessCheckInterval = 1\nheartbeatFrequency = "330ms"\nstopTimeout = "1h"',
        "Config.toml:1: livenessCheckInterval (1 s) gives a lease of 0.64 s, which must hold 2 x heartbeatFrequency (0.33 s): livenessCheckInterval = 1.03 does",
    ),
    (
        "livenesCheckInterval = 5",
        "Config.toml:1: livenesCheckInterval: unknown key; did you mean 'livenessCheckInterval'?",
    ),
    ('task_id = "a"', "Config.toml:1: task_id: unknown key; did you mean 'taskId'?"),
    ("nonblock = true", "Config.toml:1: nonblock: unknown key"),
    ("foo = 1", "Config.toml:1: foo: unknown key"),
    (
        '[databaseConfig]\ntaskId = "a"',
        "Config.toml:2: databaseConfig.taskId: unknown key; did you mean 'taskId'? It belongs above the first [table]",
    ),
    ('host = "db"', "Config.toml:1: host: unknown key; did you mean 'databaseConfig.host'?"),
    ('databaseConfig = "db"', "Config.toml:1: databaseConfig: must be a table"),
    ("[taskId]\na = 1", "Config.toml:1: taskId: must be a valid string"),
    ('[[program]]\ncommand = "x"', "Config.toml:1: program: must be a table"),
    ("priority = -1", "Config.toml:1: priority: must be greater than or equal to 0 (got -1)"),
    (
        'priority = "high"',
        "Config.toml:1: priority: must be a valid integer, unable to parse string as an integer (got 'high')",
    ),
    ("priority = true", "Config.toml:1: priority: must be a whole number (got true)"),
    (
        'isolation = "docker"',
        "Config.toml:1: isolation: must be 'auto', 'cgroup', 'pidns' or 'plain' (got 'docker')",
    ),
    (
        '[log]\nlevel = "loud"',
        "Config.toml:2: log.level: must be 'debug', 'info', 'warning' or 'error' (got 'loud')",
    ),
    (
        '[log]\nformat = "xml"',
        "Config.toml:2: log.format: must be 'auto', 'text' or 'json' (got 'xml')",
    ),
    (
        '[databaseConfig]\nport = "abc"',
        "Config.toml:2: databaseConfig.port: must be a port from 1 to 65535, or one for each host (got 'abc')",
    ),
    (
        "[databaseConfig]\nport = 0",
        "Config.toml:2: databaseConfig.port: must be a port from 1 to 65535, or one for each host (got 0)",
    ),
    (
        "[databaseConfig]\nport = 65536",
        "Config.toml:2: databaseConfig.port: must be a port from 1 to 65535, or one for each host (got 65536)",
    ),
    (
        '[databaseConfig]\nhost = "a,b,c"\nport = "1,2"',
        "Config.toml:3: databaseConfig.port: has 2 ports for 3 hosts; give one, or one each",
    ),
    (
        '[databaseConfig]\nhost = "postgresql://db/x"',
        "Config.toml:2: databaseConfig.host: must be a host, not a URL; a URL belongs in databaseConfig.url (got 'postgresql://db/x')",
    ),
    (
        '[databaseConfig]\nhost = ""',
        "Config.toml:2: databaseConfig.host: must be a host, or several with commas between them (got '')",
    ),
    (
        '[databaseConfig]\nhost = "a,,b"',
        "Config.toml:2: databaseConfig.host: must be a host, or several with commas between them (got 'a,,b')",
    ),
    (
        '[databaseConfig]\npasword = "x"',
        "Config.toml:2: databaseConfig.pasword: unknown key; did you mean 'password'?",
    ),
    (
        "[databaseConfig]\npassword = 12345",
        "Config.toml:2: databaseConfig.password: must be a valid string",
    ),
    (
        '[databaseConfig]\nurl = "mysql://db/x"',
        'Config.toml:2: databaseConfig.url: must begin with "postgresql://", not with "mysql://"',
    ),
    (
        '[databaseConfig]\nurl = "db"',
        'Config.toml:2: databaseConfig.url: must be "postgresql://user@host:port/database", or key=value pairs',
    ),
    (
        '[databaseConfig]\nurl = "postgresql://db:70000/x"',
        "Config.toml:2: databaseConfig.url: must have ports from 1 to 65535",
    ),
    (
        '[databaseConfig]\nurl = "postgresql://db/x?bogus=1"',
        "Config.toml:2: databaseConfig.url: cannot be read as a URL or key=value pairs by libpq",
    ),
    (
        '[databaseConfig]\nurl = "postgresql://db/x"\nhost = "db"\nservice = "s"',
        "Config.toml:3: databaseConfig.host: cannot be combined with databaseConfig.url\nConfig.toml:4: databaseConfig.service: cannot be combined with databaseConfig.url",
    ),
    (
        '[databaseConfig]\nsslmode = "yes"',
        "Config.toml:2: databaseConfig.sslmode: must be 'disable', 'allow', 'prefer', 'require', 'verify-ca' or 'verify-full' (got 'yes')",
    ),
    (
        '[databaseConfig]\nschema = "Public"',
        "Config.toml:2: databaseConfig.schema: must be 1 to 31 of a-z, 0-9 and _, no digit first (got 'Public')",
    ),
    (
        '[databaseConfig]\nschema = "pg;drop"',
        "Config.toml:2: databaseConfig.schema: must be 1 to 31 of a-z, 0-9 and _, no digit first (got 'pg;drop')",
    ),
    (
        '[databaseConfig]\npassword = "x"\npasswordFile = "y"',
        "Config.toml:3: databaseConfig.passwordFile: cannot be combined with password",
    ),
    (
        '[databaseConfig]\npasswordFile = "/nonexistent/password"',
        "Config.toml:2: databaseConfig.passwordFile: cannot be read: No such file or directory (/nonexistent/password)",
    ),
    (
        '[databaseConfig]\nembedded = true\nhost = "db"',
        "Config.toml:2: databaseConfig.embedded: cannot be combined with keys that name another database",
    ),
    (
        "[databaseConfig]\nembedded = 5",
        "Config.toml:2: databaseConfig.embedded: must be true, false, or the path of a directory (got 5)",
    ),
    (
        "[databaseConfig]\nembedded = false",
        "Config.toml:1: databaseConfig.url: no database is named, and the embedded one is forbidden; set COORD_DATABASE_URL",
    ),
    (
        "[databaseConfig]\nconnectTimeout = 30",
        "Config.toml:2: databaseConfig.connectTimeout: must be shorter than livenessCheckInterval",
    ),
    (
        '[databaseConfig]\nautoMigrate = "maybe"',
        "Config.toml:2: databaseConfig.autoMigrate: must be a valid boolean, unable to interpret input (got 'maybe')",
    ),
    (
        '[databaseConfig]\nuser = "a\\u0000b"',
        "Config.toml:2: databaseConfig.user: must be Unicode text without NUL",
    ),
    (
        "[program]\ncommand = []",
        'Config.toml:2: program.command: must be a list of texts such as ["backup", "--all"], or one text',
    ),
    (
        '[program]\ncommand = ""',
        'Config.toml:2: program.command: must be a list of texts such as ["backup", "--all"], or one text (got \'\')',
    ),
    (
        '[program]\ncommand = ["a", 1]',
        'Config.toml:2: program.command: must be a list of texts such as ["backup", "--all"], or one text',
    ),
    (
        '[program]\ncommand = "a \'b"',
        "Config.toml:2: program.command: cannot be split into arguments: No closing quotation",
    ),
    (
        '[program]\ncommand = "a"\ncallable = "a:b"',
        "Config.toml:3: program.callable: cannot be combined with command; give one of them",
    ),
    (
        '[program]\ncallable = "a.b"',
        "Config.toml:2: program.callable: must be \"module:function\" (got 'a.b')",
    ),
    (
        '[program]\ncommand = ["a"]\nshell = true',
        "Config.toml:3: program.shell: needs command as one text",
    ),
    ('[program]\ncwd = "/"', "Config.toml:1: program: needs command or callable"),
    (
        '[program]\ncommand = "a"\nonExit = "explode"',
        "Config.toml:3: program.onExit: must be 'restart', 'on-failure', 'release' or 'stop' (got 'explode')",
    ),
    ("[trigger]\ninterval = 5", "Config.toml:1: trigger: needs [program] command or callable"),
    (
        '[program]\ncallable = "a:b"\n[trigger]',
        "Config.toml:3: trigger: needs interval, cron or at",
    ),
    (
        '[program]\ncallable = "a:b"\n[trigger]\ninterval = 5\ncron = "* * * * *"',
        "Config.toml:5: trigger.cron: cannot be combined with interval",
    ),
    (
        '[program]\ncallable = "a:b"\n[trigger]\ncron = "61 * * * *"',
        "Config.toml:4: trigger.cron: must be five cron fields: '61' is no minute; write 0-59 (got '61 * * * *')",
    ),
    (
        '[program]\ncallable = "a:b"\n[trigger]\ncron = "* * *"',
        "Config.toml:4: trigger.cron: must be five cron fields: 3 fields, but a cron line has 5 (got '* * *')",
    ),
    (
        '[program]\ncallable = "a:b"\n[trigger]\ninterval = 0',
        "Config.toml:4: trigger.interval: must be greater than or equal to 0.01 (got 0)",
    ),
    (
        '[program]\ncallable = "a:b"\n[trigger]\nat = "tomorrow"',
        'Config.toml:4: trigger.at: must be a moment such as "2026-12-31T23:00:00Z" or "…+01:00" (got \'tomorrow\')',
    ),
    (
        '[program]\ncallable = "a:b"\n[trigger]\nat = 07:30:00',
        'Config.toml:4: trigger.at: must be a moment such as "2026-12-31T23:00:00Z" or "…+01:00" (got 07:30:00)',
    ),
    (
        '[program]\ncallable = "a:b"\n[trigger]\ninterval = 5\nstartTime = "2090-01-01"\nendTime = "2089-01-01"',
        "Config.toml:6: trigger.endTime: must be later than startTime",
    ),
    (
        '[program]\ncallable = "a:b"\n[trigger]\ninterval = 5\nendTime = 2020-01-01T00:00:00Z',
        "Config.toml:5: trigger.endTime: is over: nothing would ever run",
    ),
    (
        '[program]\ncallable = "a:b"\n[trigger]\ninterval = 5\nmaxCount = 0',
        "Config.toml:5: trigger.maxCount: must be greater than or equal to 1 (got 0)",
    ),
    (
        '[program]\ncallable = "a:b"\n[trigger]\ncron = "* * * * *"\ntimezone = "Mars/Base"',
        "Config.toml:5: trigger.timezone: must be a time zone such as \"Europe/Berlin\" (got 'Mars/Base')",
    ),
    (
        '[program]\ncallable = "a:b"\n[trigger]\ninterval = 5\ncatchUp = "some"',
        "Config.toml:5: trigger.catchUp: must be 'none', 'once' or 'all' (got 'some')",
    ),
    (
        '[taskPolicy]\nerrorPolicy = "PANIC"',
        "Config.toml:2: taskPolicy.errorPolicy: must be 'LOG_AND_TERMINATE', 'LOG_AND_CONTINUE', 'TERMINATE' or 'CONTINUE' (got 'PANIC')",
    ),
    (
        "[taskPolicy]\nwaitingPolicy = 3",
        "Config.toml:2: taskPolicy.waitingPolicy: must be 'WAIT', 'IGNORE' or 'LOG_AND_IGNORE' (got 3)",
    ),
    (
        "[retryConfig]\nmaxAttempts = -1",
        "Config.toml:2: retryConfig.maxAttempts: must be greater than or equal to 0 (got -1)",
    ),
    (
        "[retryConfig]\nmaxAttempts = 1.5",
        "Config.toml:2: retryConfig.maxAttempts: must be a valid integer, got a number with a fractional part (got 1.5)",
    ),
    (
        "[retryConfig]\nretryInterval = 5\nmaxInterval = 2",
        "Config.toml:3: retryConfig.maxInterval: must not be shorter than retryInterval",
    ),
    (
        '[retryConfig]\nbackoffStrategy = "RANDOM"',
        "Config.toml:2: retryConfig.backoffStrategy: must be 'FIXED' or 'EXPONENTIAL' (got 'RANDOM')",
    ),
    ("taskId = ", "Config.toml:1: not TOML: Invalid value"),
    ('taskId = "a"\ntaskId = "b"', "Config.toml:2: not TOML: Cannot overwrite a value"),
    ('taskId = "a', "Config.toml:1: not TOML: Unterminated string"),
    ("taskId = abc", "Config.toml:1: not TOML: Invalid value (column 10)"),
    (
        "[databaseConfig\nport = 1",
        "Config.toml:1: not TOML: Expected ']' at the end of a table declaration (column 16)",
    ),
)
