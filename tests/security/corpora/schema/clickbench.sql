CREATE TABLE hits (
    WatchID BIGINT, JavaEnable SMALLINT, Title VARCHAR, GoodEvent SMALLINT, EventTime TIMESTAMP,
    EventDate DATE, CounterID INTEGER, ClientIP INTEGER, RegionID INTEGER, UserID BIGINT,
    CounterClass SMALLINT, OS SMALLINT, UserAgent SMALLINT, URL VARCHAR, Referer VARCHAR,
    IsRefresh SMALLINT, ResolutionWidth SMALLINT, WindowClientWidth SMALLINT,
    WindowClientHeight SMALLINT, AdvEngineID SMALLINT, MobilePhone SMALLINT, MobilePhoneModel VARCHAR,
    TraficSourceID SMALLINT, SearchEngineID SMALLINT, SearchPhrase VARCHAR, IsLink SMALLINT,
    IsDownload SMALLINT, DontCountHits SMALLINT, RefererHash BIGINT, URLHash BIGINT
);
