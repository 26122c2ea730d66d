
--
-- What every OMERO database starts with
--

insert into experimenter (id, permissions, version, ldap, omename, firstname, lastname)
    values (0, -52, 0, false, 'root', 'root', 'root'), (1, -52, 0, false, 'guest', 'Guest', 'Account');

insert into experimentergroup (id, permissions, version, ldap, name)
    values (0, -120, 0, false, 'system'), (1, -52, 0, false, 'user'), (2, -120, 0, false, 'guest');

insert into groupexperimentermap (id, permissions, version, parent, child, owner, child_index)
    values (0, -52, 0, 0, 0, false, 0), (1, -52, 0, 1, 0, false, 1), (2, -52, 0, 2, 1, false, 0);

insert into adminprivilege (value)
    values ('Chgrp'), ('Chown'), ('DeleteFile'), ('DeleteManagedRepo'), ('DeleteOwned'), ('DeleteScriptRepo'),
           ('ModifyGroup'), ('ModifyGroupMembership'), ('ModifyUser'), ('ReadSession'), ('Sudo'), ('WriteFile'),
           ('WriteManagedRepo'), ('WriteOwned'), ('WriteScriptRepo');

insert into eventtype (id, value)
    values (0, 'Bootstrap'), (1, 'Import'), (2, 'Internal'), (3, 'Shoola'), (4, 'User'), (5, 'Task'), (6, 'Test'),
           (7, 'Processing'), (8, 'FullText'), (9, 'Sessions');

insert into pixelstype (value, bitsize)
    values ('bit', 1), ('int8', 8), ('int16', 16), ('int32', 32), ('uint8', 8), ('uint16', 16), ('uint32', 32),
           ('float', 32), ('double', 64), ('complex', 64), ('double-complex', 128);

insert into renderingmodel (value) values ('rgb'), ('greyscale');

insert into family (value) values ('linear');

insert into photometricinterpretation (value)
    values ('RGB'), ('ARGB'), ('CMYK'), ('HSV'), ('Monochrome'), ('ColorMap');

insert into illumination (value) values ('Transmitted'), ('Epifluorescence'), ('Oblique'), ('NonLinear'), ('Other');

insert into acquisitionmode (value)
    values ('WideField'), ('LaserScanningConfocalMicroscopy'), ('SpinningDiskConfocal'), ('Other');

insert into contrastmethod (value)
    values ('Brightfield'), ('Phase'), ('DIC'), ('HoffmanModulation'), ('Darkfield'), ('Fluorescence'), ('Other');

insert into dimensionorder (value)
    values ('XYZCT'), ('XYZTC'), ('XYCTZ'), ('XYCZT'), ('XYTCZ'), ('XYTZC');

insert into format (value)
    values ('Companion/OME-TIFF'), ('OMEXML'), ('TIFF'), ('ZarrReader'), ('Fake'), ('PNG');

insert into checksumalgorithm (value) values ('SHA1-160'), ('MD5-128'), ('File-Size-64');

insert into jobstatus (value)
    values ('Submitted'), ('Resubmitted'), ('Queued'), ('Requeued'), ('Running'), ('Error'), ('Waiting'), ('Finished'),
           ('Cancelled');

insert into session (id, permissions, version, uuid, owner, timetoidle, timetolive, started, closed, defaulteventtype)
    values (0, -52, 0, '0000', 0, 0, 0, now() at time zone 'utc', now() at time zone 'utc', 'Bootstrap');

insert into event (id, permissions, "time", status, experimenter, experimentergroup, "type", "session")
    values (0, -52, now() at time zone 'utc', 'BOOTSTRAP', 0, 0, 0, 0);

-- The rows above took ids that the sequences do not know of.
select setval(pg_get_serial_sequence('experimenter', 'id'), 1),
       setval(pg_get_serial_sequence('experimentergroup', 'id'), 2),
       setval(pg_get_serial_sequence('groupexperimentermap', 'id'), 2),
       setval(pg_get_serial_sequence('eventtype', 'id'), 9);

-- Anybody may be guest, as in the real server: OMERO.web asks for the server's version so.
insert into password (experimenter_id, hash) values (0, '@ROOTPASS@'), (1, '');

insert into configuration (name, value) values ('omero.db.uuid', gen_random_uuid()::text);

insert into dbpatch (currentversion, currentpatch, previousversion, previouspatch, finished, message)
    values ('@DBVERSION@', @DBPATCH@, '@DBVERSION@', @DBPATCH@, now() at time zone 'utc',
            'Database ready for the stand-in OMERO.server.');

COMMIT;
