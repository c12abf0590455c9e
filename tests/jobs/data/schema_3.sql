-- The database of version 2 after the upgrade to version 3, which changed indexes alone.
CREATE TABLE job (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id VARCHAR(160) NOT NULL,
    kind VARCHAR(128) NOT NULL,
    name VARCHAR(200) NOT NULL,
    owner VARCHAR(255) NOT NULL,
    state VARCHAR(16) NOT NULL,
    attempt INTEGER NOT NULL,
    version INTEGER NOT NULL,
    spec TEXT NOT NULL,
    launch TEXT NOT NULL,
    "key" VARCHAR(255),
    spec_hash VARCHAR(64) NOT NULL,
    queue VARCHAR(128) NOT NULL,
    priority INTEGER NOT NULL,
    rank DOUBLE,
    retries INTEGER DEFAULT '0' NOT NULL,
    due DOUBLE,
    created DOUBLE NOT NULL,
    started DOUBLE,
    ended DOUBLE,
    token VARCHAR(64),
    boot_id VARCHAR(64),
    spawned DOUBLE,
    stop_reason VARCHAR(32),
    exit_code INTEGER,
    cause VARCHAR(64),
    message TEXT,
    next_step TEXT,
    remedy TEXT,
    result TEXT,
    progress TEXT,
    resources TEXT,
    seal VARCHAR(64),
    UNIQUE (owner, "key"),
    UNIQUE (id)
);
CREATE TABLE attempt (
    job VARCHAR(160) NOT NULL,
    n INTEGER NOT NULL,
    state VARCHAR(16) NOT NULL,
    token VARCHAR(64),
    started DOUBLE,
    ended DOUBLE,
    exit_code INTEGER,
    cause VARCHAR(64),
    message TEXT,
    why VARCHAR(64),
    pruned DOUBLE,
    PRIMARY KEY (job, n),
    FOREIGN KEY(job) REFERENCES job (id)
);
CREATE TABLE lease (
    device VARCHAR(128) NOT NULL,
    job VARCHAR(160) NOT NULL,
    attempt INTEGER NOT NULL,
    memory BIGINT,
    PRIMARY KEY (device, job),
    FOREIGN KEY(job) REFERENCES job (id)
);
CREATE TABLE audit (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    time DOUBLE NOT NULL,
    actor VARCHAR(255) NOT NULL,
    action VARCHAR(64) NOT NULL,
    target VARCHAR(200) NOT NULL,
    detail TEXT NOT NULL
);
CREATE TABLE setting (
    name VARCHAR(64) NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (name)
);
CREATE INDEX job_by_state ON job (state, queue);
CREATE INDEX job_by_kind ON job (kind, state, ended);
CREATE INDEX job_by_owner ON job (owner, seq);
CREATE INDEX job_by_owner_and_state ON job (owner, state, seq);
CREATE INDEX job_by_owner_and_kind ON job (owner, kind, state, seq);
CREATE INDEX job_by_cause ON job (state, cause, kind);
CREATE INDEX lease_by_job ON lease (job);
INSERT INTO "job" VALUES(1,'generate-3q4tfyns','generate','Grüße an 世界','ada','SUCCEEDED',1,4,'{"arguments": {"do": [["print", "hello"]]}, "kind": "generate", "name": "Gr\u00fc\u00dfe an \u4e16\u754c", "priority": 0, "queue": "batch"}','{"python": "/usr/bin/python3", "module": "scripted", "cwd": "/home/ada", "env": {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/home/ada"}}','nightly','21226addc57ef501c23a451cb6748b35ba9138cb47f68a6738d4423704a6f628','batch',0,NULL,0,NULL,1.79520421954763102529e+09,1.79520422087529206269e+09,1.79520422120003294947e+09,'4e2c536e574cbe5c1b9429c6c070ff8c','4a7e6769-e669-4767-b304-c858dd5cd7b4',12655.369338106,NULL,0,NULL,NULL,NULL,NULL,'{}','{}',NULL,'4:91419215bc4c9e8ff773da24');
INSERT INTO "job" VALUES(2,'train-pxdon3ek','train','fails','ada','FAILED',2,8,'{"arguments": {"do": [["print", "x"], ["nonsense"]]}, "kind": "train", "name": "fails", "priority": 0, "queue": "batch"}','{"python": "/usr/bin/python3", "module": "scripted", "cwd": "/home/ada", "env": {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/home/ada"}}',NULL,'a7a71792c9ae726f8a235ec85ec88d20220048f6d9cb4d10f12acc0189f991ea','batch',0,NULL,0,NULL,1.79520422135433602335e+09,1.79520422529740357399e+09,1.79520422571308588982e+09,'76b3131b4521ce904b0de9f9c05a282e','4a7e6769-e669-4767-b304-c858dd5cd7b4',12659.312077506,NULL,1,'crashed','Its process ended with exit code 1.','Read the end of the log.',NULL,'{}','{}',NULL,'8:2b55fbb164e0fb0eebb22bdc');
INSERT INTO "job" VALUES(3,'serve-g4k5hvqq','serve','serve','ada','RUNNING',1,3,'{"arguments": {"do": [["sleep", 60]]}, "kind": "serve", "name": "", "priority": 0, "queue": "serving"}','{"python": "/usr/bin/python3", "module": "scripted", "cwd": "/home/ada", "env": {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/home/ada"}}','live','d084ecb726cabb048b635ee78378e67c5a5bffedf69546285e5559e6f729ec75','serving',0,NULL,0,NULL,1.79520422585754895212e+09,1.79520422791197896005e+09,NULL,'db47f74dfd40a27ec8bd323bb68babda','4a7e6769-e669-4767-b304-c858dd5cd7b4',12661.653885206,NULL,NULL,NULL,NULL,NULL,NULL,'{}','{}',NULL,'3:4962cb1eff392323c7ed9aac');
INSERT INTO "job" VALUES(4,'train-qohzzywf','train','train','ada','RUNNING',1,3,'{"arguments": {"do": [["sleep", 60]]}, "kind": "train", "name": "", "priority": 0, "queue": "batch"}','{"python": "/usr/bin/python3", "module": "scripted", "cwd": "/home/ada", "env": {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/home/ada"}}',NULL,'c260dcba85a8d9c7328625e2a5d59a1dde5ecaa555300fcf06ef364c177e5220','batch',0,NULL,0,NULL,1.79520422594365358353e+09,1.79520422811268758772e+09,NULL,'aebf33492c77f0d1e6b5843488999f2f','4a7e6769-e669-4767-b304-c858dd5cd7b4',12661.738963329,NULL,NULL,NULL,NULL,NULL,NULL,'{}','{}',NULL,'3:5628af33ebc9c5ebe0cd3f74');
INSERT INTO "job" VALUES(5,'train-iy3gbtv6','train','train','ada','RUNNING',1,3,'{"arguments": {"do": [["sleep", 60]]}, "kind": "train", "name": "", "priority": 0, "queue": "batch"}','{"python": "/usr/bin/python3", "module": "scripted", "cwd": "/home/ada", "env": {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/home/ada"}}',NULL,'c260dcba85a8d9c7328625e2a5d59a1dde5ecaa555300fcf06ef364c177e5220','batch',0,NULL,0,NULL,1.7952042260836524963e+09,1.79520422821871471403e+09,NULL,'abef792a539000b4b4b541189ef56191','4a7e6769-e669-4767-b304-c858dd5cd7b4',12661.877087569,NULL,NULL,NULL,NULL,NULL,NULL,'{}','{}',NULL,'3:85a5083a0aae6eccf1af4afe');
INSERT INTO "job" VALUES(6,'train-6n2csxk7','train','train','ada','QUEUED',1,1,'{"arguments": {"do": [["print", "later"]]}, "kind": "train", "name": "", "priority": 5, "queue": "batch"}','{"python": "/usr/bin/python3", "module": "scripted", "cwd": "/home/ada", "env": {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/home/ada"}}',NULL,'96c60eacbb2265464b81c139480dd06ee93831c8f557159f4523d42f5267371d','batch',5,NULL,0,NULL,1.79520422830831456184e+09,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{}','{}',NULL,'1:de770a7d67bad104e93c8899');
INSERT INTO "job" VALUES(7,'train-obj7ltqg','train','train','ada','CANCELLED',1,2,'{"arguments": {"do": [["print", "last"]]}, "kind": "train", "name": "", "priority": 0, "queue": "batch"}','{"python": "/usr/bin/python3", "module": "scripted", "cwd": "/home/ada", "env": {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/home/ada"}}','queued','0e68827303fec12d6f7a098396b0b2ed2fa7b642fc7a0fe3d4179f00385a9707','batch',0,NULL,0,NULL,1.79520422835813689226e+09,NULL,1.7952042283992743492e+09,NULL,NULL,NULL,'cancel',NULL,'cancelled','Cancelled before it started.','Resume it to put it into the queue again.',NULL,'{}','{}',NULL,'2:3e0b4b7375fc004d5304c363');
INSERT INTO "job" VALUES(8,'train-3uy5zj2z','train','train','ada','QUEUED',1,1,'{"arguments": {"do": [["print", "last"]]}, "kind": "train", "name": "", "priority": -1, "queue": "batch"}','{"python": "/usr/bin/python3", "module": "scripted", "cwd": "/home/ada", "env": {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/home/ada"}}',NULL,'c482e6c1af70c23eb59ce18f9769f32d65e8a15e1388ca1d8a467670947b7379','batch',-1,NULL,0,NULL,1.79520422845958662035e+09,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{}','{}',NULL,'1:465906c6a434a94455b31d83');
INSERT INTO "attempt" VALUES('generate-3q4tfyns',1,'SUCCEEDED','4e2c536e574cbe5c1b9429c6c070ff8c',1.79520422087529206269e+09,1.79520422120003294947e+09,0,NULL,NULL,'submitted',NULL);
INSERT INTO "attempt" VALUES('train-pxdon3ek',1,'FAILED','a491ff1ff484767601eff5228eab294a',1795204222.86722,1.79520422341710186005e+09,1,'crashed','Its process ended with exit code 1.','submitted',NULL);
INSERT INTO "attempt" VALUES('train-pxdon3ek',2,'FAILED','76b3131b4521ce904b0de9f9c05a282e',1.79520422529740357399e+09,1.79520422571308588982e+09,1,'crashed','Its process ended with exit code 1.','resumed',NULL);
INSERT INTO "attempt" VALUES('serve-g4k5hvqq',1,'RUNNING','db47f74dfd40a27ec8bd323bb68babda',1.79520422791197896005e+09,NULL,NULL,NULL,NULL,'submitted',NULL);
INSERT INTO "attempt" VALUES('train-qohzzywf',1,'RUNNING','aebf33492c77f0d1e6b5843488999f2f',1.79520422811268758772e+09,NULL,NULL,NULL,NULL,'submitted',NULL);
INSERT INTO "attempt" VALUES('train-iy3gbtv6',1,'RUNNING','abef792a539000b4b4b541189ef56191',1.79520422821871471403e+09,NULL,NULL,NULL,NULL,'submitted',NULL);
INSERT INTO "attempt" VALUES('train-6n2csxk7',1,'QUEUED',NULL,NULL,NULL,NULL,NULL,NULL,'submitted',NULL);
INSERT INTO "attempt" VALUES('train-obj7ltqg',1,'CANCELLED',NULL,NULL,1.7952042283992743492e+09,NULL,'cancelled','Cancelled before it started.','submitted',NULL);
INSERT INTO "attempt" VALUES('train-3uy5zj2z',1,'QUEUED',NULL,NULL,NULL,NULL,NULL,NULL,'submitted',NULL);
INSERT INTO "audit" VALUES(1,1.79520422135433602335e+09,'ada','submit','train-pxdon3ek','{"kind": "train"}');
INSERT INTO "setting" VALUES('schema','3');
INSERT INTO "setting" VALUES('slots','{"batch": 2, "serving": 4}');
INSERT INTO "setting" VALUES('grace_seconds','7');
