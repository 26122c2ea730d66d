--
-- GENERATED %(TIME)s from %(DIR)s
--
-- This file was created by the `omero db script` command for the stand-in OMERO.server
-- and contains an MD5 version of the password of OMERO's user root.
-- Delete it as soon as the database is made:
--
--     createdb omero
--     psql omero < %(SCRIPT)s
--
BEGIN;

do $$
begin
    if current_setting('server_version_num')::int < 140000 then
        raise exception 'PostgreSQL is older than 14';
    end if;
    if getdatabaseencoding() <> 'UTF8' then
        raise exception 'the encoding of the database must be UTF8';
    end if;
end;
$$;

